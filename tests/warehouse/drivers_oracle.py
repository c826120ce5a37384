"""drivers() from its definition: one session and one fact at a time; each statistic from its formula, in fractions."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from math import comb
from typing import Any

from tests.warehouse.session_world import STEPS

# An event's report of errors that cannot be read.
UNREADABLE = "unreadable"

Fact = tuple[str, str | None, str | None]
Stratum = tuple[str | None, ...]
# Converted and other sessions with the fact, and without it.
Cells = tuple[int, int, int, int]
# A session's stratum, whether it converted, and by kind its facts; None where it does not say.
Known = tuple[Stratum, bool, dict[str, set[Fact] | None]]


@dataclass(frozen=True)
class Event:
    """An event of a session, with a plausible time."""

    at: datetime
    event_id: int | None
    uuid: str
    event_type: str
    report: Mapping[str, Mapping[str, int]] | str | None = None
    claims: Mapping[str, Any] | None = None
    template_key: str | None = None
    environment_name: str | None = None
    trigger_type: str | None = None

    @property
    def place(self) -> tuple[datetime, bool, int, str]:
        return self.at, self.event_id is None, self.event_id or 0, self.uuid


@dataclass(frozen=True)
class Session:
    """A session with at least one event, in any order."""

    events: Sequence[Event]
    delivery: str | None = None

    @property
    def in_order(self) -> list[Event]:
        return sorted(self.events, key=lambda event: event.place)

    @property
    def entry(self) -> Event:
        events = self.in_order
        return next((event for event in events if event.event_type == STEPS[0]), events[0])

    @property
    def reached(self) -> int:
        """Number of the furthest step."""
        return max((STEPS.index(event.event_type) + 1 for event in self.events if event.event_type in STEPS), default=1)


@dataclass
class Answer:
    """What drivers() has to count. A fact without tables is a claim with too many values."""

    tables: dict[Fact, dict[Stratum, Cells]] = field(default_factory=dict[Fact, dict[Stratum, Cells]])
    session_count: int = 0
    skipped_count: int = 0
    left_out_count: int = 0
    immature_count: int = 0


def text_of(claims: Mapping[str, Any], path: str) -> str | None:
    """The claim at a path of meta_claims, where a backslash keeps the dot or backslash behind it."""
    value: Any = claims
    for key in re.findall(r"(?:[^.\\]|\\.)+", path):
        name = re.sub(r"\\(.)", r"\1", key)
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]  # pyright: ignore[reportUnknownVariableType]
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def counted(
    sessions: Sequence[Session],
    paths: Sequence[str],
    *,
    outcome: str,
    at_step: str,
    hold: Sequence[str],
    mature: date | None = None,
) -> Answer:
    """The tables of each fact, by stratum. `mature` is the last mature day, where others are left out."""
    answer = Answer()
    known: list[Known] = []
    for session in sessions:
        entry = session.entry
        past = _past(session, at_step)
        if session.reached <= STEPS.index(at_step):
            continue
        if mature is not None and entry.at.date() > mature:
            answer.immature_count += 1
        elif past is None:
            answer.skipped_count += 1
        elif entry.at > past[-1].at or any(event.event_type == STEPS[-1] for event in past[:-1]):
            answer.left_out_count += 1
        else:
            submitted = any(event.event_type == STEPS[-1] for event in session.events)
            is_converted = session.delivery == "imported" if outcome == "delivered" else submitted
            known.append((_stratum(entry, past, hold), is_converted, _facts(entry, past, paths)))
    answer.session_count = len(known)
    facts = {fact for _, _, kinds in known for told in kinds.values() for fact in told or ()}
    facts |= {("again", "file_uploaded", "true"), ("again", "columns_mapped", "true")}
    if all(kinds["error"] is None for _, _, kinds in known):
        facts.add(("error", None, None))
    answer.tables = {fact: _tables(fact, known) for fact in facts}
    for path in paths:
        values = [fact for fact in facts if fact[:2] == ("claim", path)]
        if len(values) > 20:
            for fact in values:
                del answer.tables[fact]
            answer.tables["claim", path, None] = {}
    return answer


def _past(session: Session, at_step: str) -> list[Event] | None:
    """The events up to the first one of the step; None without such an event."""
    events = session.in_order
    places = [place for place, event in enumerate(events) if event.event_type == at_step]
    return events[: places[0] + 1] if places else None


def _tables(fact: Fact, known: Sequence[Known]) -> dict[Stratum, Cells]:
    tables: dict[Stratum, Cells] = defaultdict(lambda: (0, 0, 0, 0))
    for stratum, is_converted, kinds in known:
        told = kinds[fact[0]]
        if told is not None:
            cells = list(tables[stratum])
            cells[(0 if fact in told else 2) + (0 if is_converted else 1)] += 1
            tables[stratum] = (cells[0], cells[1], cells[2], cells[3])
    return dict(tables)


def _last_claims(past: Sequence[Event]) -> Mapping[str, Any] | None:
    return next((event.claims for event in reversed(past) if event.claims is not None), None)


def _stratum(entry: Event, past: Sequence[Event], hold: Sequence[str]) -> Stratum:
    facts = {
        "template_key": entry.template_key,
        "environment_name": entry.environment_name,
        "entry_trigger_type": entry.trigger_type,
        "entry_date": str(entry.at.date()),
        "entry_hour": str(entry.at.hour),
    }
    return tuple(facts[name] if name in facts else text_of(_last_claims(past) or {}, name) for name in hold)


def _facts(entry: Event, past: Sequence[Event], paths: Sequence[str]) -> dict[str, set[Fact] | None]:
    """By kind, the facts of a session; None where it does not say."""

    def of_entry(kind: str, name: str, value: str | None) -> set[Fact] | None:
        return None if value is None else {(kind, name, value)}

    report = next((event.report for event in reversed(past) if event.report is not None), None)
    errors: set[Fact] | None = None
    if report is not None and not isinstance(report, str):
        errors = {("error", key, code) for key, codes in report.items() for code, count in codes.items() if count > 0}
    claims = _last_claims(past)
    types = [event.event_type for event in past]
    texts = [] if claims is None else [(path, text_of(claims, path)) for path in paths]
    return {
        "error": errors,
        "claim": None if claims is None else {("claim", path, text) for path, text in texts if text is not None},
        "environment": of_entry("environment", "environment_name", entry.environment_name),
        "trigger": of_entry("trigger", "entry_trigger_type", entry.trigger_type),
        "hour": of_entry("hour", "entry_hour", str(entry.at.hour)),
        "again": {("again", name, "true") for name in ("file_uploaded", "columns_mapped") if types.count(name) > 1},
    }


def fisher(cells: Cells) -> Fraction:
    """The two-sided exact p: of all tables with the same margins, those no more probable."""
    a, b, c, d = cells
    ways = [comb(a + b, x) * comb(c + d, a + c - x) for x in range(max(0, a - d), min(a + b, a + c) + 1)]
    mine = comb(a + b, a) * comb(c + d, c)
    return Fraction(sum(way for way in ways if way <= mine), sum(ways))


def mantel_haenszel(tables: Sequence[Cells]) -> Fraction:
    """The chi-square of strata with both outcomes, with the fact and without it."""
    excess, variance = Fraction(0), Fraction(0)
    for a, b, c, d in tables:
        n = a + b + c + d
        excess += a - Fraction((a + b) * (a + c), n)
        variance += Fraction((a + b) * (c + d) * (a + c) * (b + d), n * n * (n - 1))
    return excess**2 / variance


def odds_ratio(tables: Sequence[Cells]) -> Fraction | None:
    """The pooled one; None where it divides by 0."""
    above = sum((Fraction(a * d, a + b + c + d) for a, b, c, d in tables), Fraction(0))
    below = sum((Fraction(b * c, a + b + c + d) for a, b, c, d in tables), Fraction(0))
    return above / below if below else None
