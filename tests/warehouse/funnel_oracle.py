"""funnel() and funnel_sessions() by brute force, from their definition alone: every chain, every window, every way to
fill the steps, and unit by unit what that says of each step."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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
    return [*_since(_times_of_steps(events, steps, window, mode, optional))]


def _since(times: Sequence[datetime | None]) -> Iterator[float | None]:
    for time in times:
        yield None if time is None or times[0] is None else (time - times[0]).total_seconds()


def _times_of_steps(
    events: Sequence[Event], steps: Sequence[str], window: float, mode: str, optional: Sequence[str]
) -> list[datetime | None]:
    ordered = sorted(events, key=lambda event: event.order)
    if mode == "any":
        return [*_any(ordered, steps, window)]
    best = min(_chains(ordered, steps, window, mode, optional), key=lambda chain: chain.order, default=None)
    if best is None:
        return []
    performed = {step: ordered[place].occurred_at for place, step in zip(best.positions, best.steps, strict=True)}
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


def _any(events: Sequence[Event], steps: Sequence[str], window: float) -> list[datetime]:
    best: list[datetime] = []
    for start in events:
        if not any(start.fills(step) for step in steps):
            continue
        inside = [event for event in events if 0 <= _seconds(start, event) <= window]
        filled: list[datetime] = []
        for length in range(1, len(inside) + 1):
            if _most_filled(inside[:length], steps) > len(filled):
                filled.append(inside[length - 1].occurred_at)
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


@dataclass(frozen=True)
class Session:
    """One session, as far as a funnel looks at it. Its events name the same unit and breakdown."""

    embed_id: int
    unit: str
    breakdown: str | None
    entry_at: datetime | None
    outcome: str
    delivery: str | None


@dataclass(frozen=True)
class Asked:
    """The arguments of a funnel, and what the warehouse knows. Windows are in seconds."""

    steps: Sequence[str]
    window: float
    mode: str
    optional: Sequence[str]
    exclude: Sequence[str]
    by_period: str | None
    conversion: str
    include_immature: bool
    funnel_window: float
    now: datetime | None

    @property
    def rows(self) -> list[str]:
        """The funnel's steps by name, in their order."""
        steps = [f"any {n}" for n in range(1, len(self.steps) + 1)] if self.mode == "any" else [*self.steps]
        return [*steps, "delivered"] if self.conversion == "delivered" else steps

    def is_mature(self, session: Session) -> bool:
        if session.entry_at is None or self.now is None:
            return False
        day_ends = datetime.combine(session.entry_at.date(), datetime.min.time()) + timedelta(days=1)
        return self.now - day_ends >= timedelta(seconds=max(self.window, self.funnel_window))

    def may_go_on(self, session: Session) -> bool:
        if session.outcome != "open" or session.entry_at is None:
            return False
        return self.now is None or self.now - session.entry_at < timedelta(seconds=max(self.window, self.funnel_window))

    def period(self, day: date) -> date | None:
        starts = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}
        return starts[self.by_period] if self.by_period else None


@dataclass(frozen=True)
class Unit:
    """What became of a session or user: the time of each step that it reached, None where it was skipped."""

    sessions: Sequence[Session]
    breakdown: str | None
    period: date | None
    times: Sequence[datetime | None]
    is_mature: bool
    is_excluded: bool
    is_counted: bool

    @property
    def has_entered(self) -> bool:
        return bool(self.times)

    def seconds(self, number: int) -> float | None:
        return [*_since(self.times)][number - 1] if number <= len(self.times) else None

    def states(self, number: int, asked: Asked) -> set[str]:
        """What the unit is counted as in this row of the funnel."""
        is_delivery = number > len(asked.steps)
        deliveries = {session.delivery for session in self.sessions}
        has_reached = len(self.times) >= number or (
            is_delivery and len(self.times) == number - 1 and "imported" in deliveries
        )
        is_awaited = any(
            session.delivery == "pending" or (session.delivery is None and session.outcome == "submitted")
            for session in self.sessions
        )
        if self.is_excluded:
            return set()
        if has_reached and not self.is_counted:
            return set()
        if has_reached:
            is_performed = is_delivery or self.times[number - 1] is not None
            return {"reached", "performed" if is_performed else "skipped"}
        if any(map(asked.may_go_on, self.sessions)):
            return {"open"}
        if is_delivery and len(self.times) == number - 1 and is_awaited:
            return {"open"}
        is_next = number > 1 and len(self.times) == number - 1
        return {"dropped"} if is_next and self.is_counted else set()


def units_of(sessions: Sequence[Session], events: Sequence[Event], asked: Asked) -> list[Unit]:
    """What became of each unit."""
    by_unit: defaultdict[tuple[str, str | None], list[Session]] = defaultdict(list)
    for session in sessions:
        if asked.by_period is None or session.entry_at is not None:
            by_unit[session.unit, session.breakdown].append(session)
    found: list[Unit] = []
    for key, mine in by_unit.items():
        happened = [event for event in events if (event.unit, event.breakdown) == key]
        times = _times_of_steps(happened, asked.steps, asked.window, asked.mode, asked.optional)
        entries = [session.entry_at for session in mine if session.entry_at is not None]
        first = min((session for session in mine if session.entry_at), key=lambda each: each.entry_at or datetime.max,
                    default=mine[0])  # fmt: skip
        is_mature = asked.is_mature(first)
        is_excluded = any(
            times[0] is not None and times[-1] is not None and times[0] < event.occurred_at < times[-1]
            for event in happened
            if times and any(map(event.fills, asked.exclude))
        )
        period = asked.period(min(entries).date()) if entries else None
        is_counted = not is_excluded and (is_mature or asked.include_immature)
        found.append(Unit(mine, key[1], period, times, is_mature, is_excluded, is_counted))
    return found


def funnel_rows(units: Sequence[Unit], asked: Asked) -> list[dict[str, Any]]:
    """The rows of funnel(), without intervals."""
    rows: list[dict[str, Any]] = []
    groups: defaultdict[tuple[str | None, date | None], list[Unit]] = defaultdict(list)
    for unit in units:
        groups[unit.breakdown, unit.period].append(unit)
    for breakdown, period in sorted(groups, key=lambda key: tuple((value is not None, value or "") for value in key)):
        group = groups[breakdown, period]
        entered = previous = None
        for number, step in enumerate(asked.rows, 1):
            states = [unit.states(number, asked) for unit in group]
            counts = {
                f"{state}_count": sum(state in of for of in states)
                for state in ("reached", "performed", "skipped", "dropped", "open")
            }
            reached = counts["reached_count"]
            entered = reached if entered is None else entered
            seconds = [unit.seconds(number) for unit in group if unit.is_counted]
            told = [second for second in seconds if second is not None]
            mature = [unit for unit in group if unit.is_mature and not unit.is_excluded]
            mature_count = sum(unit.has_entered for unit in mature)
            mature_reached = sum("reached" in unit.states(number, asked) for unit in mature)
            rows.append(
                {
                    "breakdown": breakdown,
                    "period": period,
                    "step_number": number,
                    "step": step,
                    **counts,
                    "entered_count": entered,
                    "previous_reached_count": previous,
                    "conversion_rate": reached / entered if entered else None,
                    "step_conversion_rate": reached / previous if previous else None,
                    "median_seconds_from_entry": median(told) if told else None,
                    "mature_count": mature_count,
                    "mature_reached_count": mature_reached,
                    "rate": mature_reached / mature_count if mature_count else None,
                    "immature_count": sum(
                        unit.has_entered for unit in group if not unit.is_mature and not unit.is_excluded
                    ),
                    "excluded_count": sum(
                        unit.is_excluded and (unit.is_mature or asked.include_immature) for unit in group
                    ),
                }
            )
            previous = reached
    return rows
