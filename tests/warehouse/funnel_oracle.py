"""funnel() by brute force, from its definition alone: every chain, every window, every way to fill the steps."""

from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True)
class Chain:
    """Positions of the events and numbers of the steps that they perform, from 1, in their order."""

    positions: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def order(self) -> tuple[Any, ...]:
        """The best chain is the smallest: furthest, most performed, earliest start; then by its end, going back."""
        backwards = tuple(zip(reversed(self.positions), reversed(self.steps), strict=True))
        return (-self.steps[-1], -len(self.steps), self.positions[0], backwards)


def seconds_of_steps(
    events: Sequence[Event], steps: Sequence[str], window: float, mode: str, optional: Sequence[str]
) -> list[float | None]:
    """Per step that a unit reached, the seconds since its start, None where it was skipped; empty without a start."""
    ordered = sorted(events, key=lambda event: event.order)
    if mode == "any":
        return [*_any(ordered, steps, window)]
    best = min(_chains(ordered, steps, window, mode, optional), key=lambda chain: chain.order, default=None)
    if best is None:
        return []
    start = ordered[best.positions[0]]
    performed = {
        step: _seconds(start, ordered[position]) for position, step in zip(best.positions, best.steps, strict=True)
    }
    return [performed.get(number) for number in range(1, best.steps[-1] + 1)]


def _seconds(start: Event, event: Event) -> float:
    return (event.occurred_at - start.occurred_at).total_seconds()


def _chains(
    events: Sequence[Event], steps: Sequence[str], window: float, mode: str, optional: Sequence[str]
) -> Iterator[Chain]:
    """Every chain there is, whatever events it leaves out: in time order, within the window, and none but optional
    steps skipped. (The nearest events are not chosen here: the best chain has them.)"""
    for start, event in enumerate(events):
        if event.fills(steps[0]):
            unfinished = [Chain((start,), (1,))]
            while unfinished:
                chain = unfinished.pop()
                yield chain
                after = chain.positions[-1] + 1
                until = min(after + 1, len(events)) if mode == "strict" else len(events)
                for position in range(after, until):
                    if _seconds(event, events[position]) > window:
                        break
                    unfinished += [
                        Chain((*chain.positions, position), (*chain.steps, number))
                        for number in range(chain.steps[-1] + 1, len(steps) + 1)
                        if events[position].fills(steps[number - 1])
                        and all(skipped in optional for skipped in steps[chain.steps[-1] : number - 1])
                    ]


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
    events: Sequence[Event],
    units: set[tuple[str, str | None]],
    steps: Sequence[str],
    window: float,
    mode: str,
    optional: Sequence[str],
) -> list[tuple[Any, ...]]:
    """The rows of funnel(): breakdown, step_number, reached_count, conversion, step conversion, median seconds."""
    rows: list[tuple[Any, ...]] = []
    for breakdown in sorted({breakdown for _, breakdown in units}, key=lambda value: (value is not None, value or "")):
        reached: list[list[float | None]] = [[] for _ in steps]
        for unit in {unit for unit, of in units if of == breakdown}:
            mine = [event for event in events if (event.unit, event.breakdown) == (unit, breakdown)]
            for number, seconds in enumerate(seconds_of_steps(mine, steps, window, mode, optional)):
                reached[number].append(seconds)
        counts = [len(seconds) for seconds in reached]
        for number, count in enumerate(counts):
            performed = [seconds for seconds in reached[number] if seconds is not None]
            previous = counts[number - 1] if number else None
            rows.append(
                (
                    breakdown,
                    number + 1,
                    count,
                    count / counts[0] if counts[0] else None,
                    count / previous if previous else None,
                    median(performed) if performed else None,
                )
            )
    return rows
