"""explain_change() from its definition, with 50 digits and one session at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

ONE = Decimal(1)


@dataclass(frozen=True)
class Session:
    """One session, as far as explain_change() looks at it."""

    part: str | None
    entry_date: date
    # How many of the measure's steps it reached, from 1.
    reached: int


@dataclass(frozen=True)
class Period:
    """The sessions of a period that count, and how many are too young to."""

    sessions: list[Session]
    young: list[Session]

    @classmethod
    def of(cls, sessions: Sequence[Session], first: date, last: date, mature: date | None) -> "Period":
        inside = [session for session in sessions if first <= session.entry_date <= last]
        young = [session for session in inside if mature is not None and session.entry_date > mature]
        return cls([session for session in inside if session not in young], young)

    def only(self, part: str | None) -> "Period":
        return Period([s for s in self.sessions if s.part == part], [s for s in self.young if s.part == part])

    def reached(self, step: int) -> int:
        return sum(session.reached >= step for session in self.sessions)


def explained(before: Period, after: Period, steps: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of explain_change(), without intervals and dates, in no order of the segments."""
    with localcontext() as context:
        context.prec = 50
        last = len(steps)
        total = [_rate(period.reached(last), len(period.sessions)) for period in (before, after)]
        rows = [_row("total", None, _minus(*total), (_of(before, last), _of(after, last)), (before, after))]
        parts = {session.part for period in (before, after) for session in (*period.sessions, *period.young)}
        rows += [_segment(part, before, after, last, total) for part in parts]
        return rows + _steps(before, after, steps, total)


def _segment(part: str | None, before: Period, after: Period, last: int, total: list[Decimal | None]) -> dict[str, Any]:
    mine = (before.only(part), after.only(part))
    counts = (_of(mine[0], last), _of(mine[1], last))
    weights = [_rate(n, len(whole.sessions)) for (n, _), whole in zip(counts, (before, after), strict=True)]
    rates = [_rate(k, n) for n, k in counts]
    mix = rate = None
    if None not in total and None not in weights:
        w0, w1, t0, t1 = (Decimal(value or 0) for value in (*weights, *total))
        r0 = next((Decimal(r) for r in rates if r is not None), Decimal(0))
        r1 = next((Decimal(r) for r in reversed(rates) if r is not None), Decimal(0))
        mix = (w1 - w0) * ((r0 + r1) / 2 - (t0 + t1) / 2)
        rate = (r1 - r0) * (w0 + w1) / 2
    both = None if mix is None or rate is None else mix + rate
    row = _row("segments", part, both, counts, mine)
    return row | {
        "mix_contribution": mix,
        "rate_contribution": rate,
        "before_share": weights[0],
        "after_share": weights[1],
    }


def _steps(before: Period, after: Period, steps: Sequence[str], total: list[Decimal | None]) -> list[dict[str, Any]]:
    t0, t1 = total
    if not t0 or not t1:
        counts = (_of(before, len(steps)), _of(after, len(steps)))
        return [_row("steps", "(not split)", _minus(t0, t1), counts, (before, after))]
    mean = t0 if t0 == t1 else (t1 - t0) / (t1 / t0).ln()
    rows: list[dict[str, Any]] = []
    for number, step in enumerate(steps[1:], start=2):
        n0, k0 = before.reached(number - 1), before.reached(number)
        n1, k1 = after.reached(number - 1), after.reached(number)
        contribution = mean * ((Decimal(k1) / n1) / (Decimal(k0) / n0)).ln()
        rows.append(_row("steps", step, contribution, ((n0, k0), (n1, k1)), (before, after)))
    return rows


def _row(
    split: str,
    part: str | None,
    contribution: Decimal | None,
    counts: tuple[tuple[int, int], tuple[int, int]],
    periods: tuple[Period, Period],
) -> dict[str, Any]:
    row: dict[str, Any] = {"split": split, "part": part, "contribution": contribution}
    for name, (n, k), period in zip(("before", "after"), counts, periods, strict=True):
        row |= {
            f"{name}_count": n,
            f"{name}_converted_count": k,
            f"{name}_rate": _rate(k, n),
            f"{name}_immature_count": len(period.young),
        }
    nothing = dict.fromkeys(("mix_contribution", "rate_contribution", "before_share", "after_share"))
    return row | nothing | {"rate_difference": _minus(row["before_rate"], row["after_rate"])}


def _of(period: Period, last: int) -> tuple[int, int]:
    return len(period.sessions), period.reached(last)


def _rate(k: int, n: int) -> Decimal | None:
    return Decimal(k) / n if n else None


def _minus(before: Decimal | None, after: Decimal | None) -> Decimal | None:
    return None if before is None or after is None else after - before
