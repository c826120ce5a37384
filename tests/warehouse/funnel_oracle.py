"""funnel() by brute force, from its definition alone: every chain, every window, every way to fill the steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event, as far as a funnel looks at it."""

    unit: str
    breakdown: str | None
    occurred_at: datetime
    event_id: int | None
    event_uuid: str
    event_type: str
    operation: str | None

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.occurred_at, self.event_id is None, self.event_id or 0, self.event_uuid)

    def fills(self, step: str) -> bool:
        return step in (self.event_type, f"{self.event_type}:{self.operation}" if self.operation else None)


def seconds_of_steps(events: Sequence[Event], steps: Sequence[str], window: float, mode: str) -> list[float]:
    """Per step that a unit got to, the seconds since its start; empty where it never started."""
    ordered = sorted(events, key=lambda event: event.order)
    if mode == "any":
        return _any(ordered, steps, window)
    best: list[int] = []
    for start, event in enumerate(ordered):
        if event.fills(steps[0]):
            chain = _longest(ordered, steps, window, [start], is_strict=mode == "strict")
            if len(chain) > len(best):
                best = chain
    return [_seconds(ordered[best[0]], ordered[position]) for position in best]


def _seconds(start: Event, event: Event) -> float:
    return (event.occurred_at - start.occurred_at).total_seconds()


def _longest(
    events: Sequence[Event], steps: Sequence[str], window: float, chain: list[int], *, is_strict: bool
) -> list[int]:
    """The longest way to go on from `chain`; of equally long ones the one whose events come first."""
    if len(chain) == len(steps):
        return chain
    after = chain[-1] + 1
    best = chain
    for position in range(after, min(after + 1, len(events)) if is_strict else len(events)):
        event = events[position]
        if event.fills(steps[len(chain)]) and _seconds(events[chain[0]], event) <= window:
            longer = _longest(events, steps, window, [*chain, position], is_strict=is_strict)
            if len(longer) > len(best):
                best = longer
    return best


def _any(events: Sequence[Event], steps: Sequence[str], window: float) -> list[float]:
    best: list[float] = []
    for start in events:
        if not any(start.fills(step) for step in steps):
            continue
        inside = [event for event in events if 0 <= _seconds(start, event) <= window]
        filled: list[float] = []
        for length in range(1, len(inside) + 1):
            if _most_filled(inside[:length], steps) > len(filled):
                filled.append(_seconds(start, inside[length - 1]))
        if len(filled) > len(best):
            best = filled
    return best


def _most_filled(events: Sequence[Event], steps: Sequence[str]) -> int:
    """How many steps these events can fill, each event one step."""

    @cache
    def most(position: int, open_steps: frozenset[int]) -> int:
        if position == len(events):
            return 0
        found = most(position + 1, open_steps)
        for step in open_steps:
            if events[position].fills(steps[step]):
                found = max(found, 1 + most(position + 1, open_steps - {step}))
        return found

    return most(0, frozenset(range(len(steps))))


def funnel_rows(
    events: Sequence[Event], units: set[tuple[str, str | None]], steps: Sequence[str], window: float, mode: str
) -> list[tuple[Any, ...]]:
    """The rows of funnel(): breakdown, step_number, reached_count, conversion, step conversion, median seconds."""
    rows: list[tuple[Any, ...]] = []
    for breakdown in sorted({breakdown for _, breakdown in units}, key=lambda value: (value is not None, value or "")):
        reached: list[list[float]] = [[] for _ in steps]
        for unit in {unit for unit, of in units if of == breakdown}:
            mine = [event for event in events if (event.unit, event.breakdown) == (unit, breakdown)]
            for number, seconds in enumerate(seconds_of_steps(mine, steps, window, mode)):
                reached[number].append(seconds)
        counts = [len(seconds) for seconds in reached]
        for number, count in enumerate(counts):
            previous = counts[number - 1] if number else None
            rows.append(
                (
                    breakdown,
                    number + 1,
                    count,
                    count / counts[0] if counts[0] else None,
                    count / previous if previous else None,
                    median(reached[number]) if reached[number] else None,
                )
            )
    return rows
