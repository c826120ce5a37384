"""time_to() from its definition: one session at a time, and each sum over times as it is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp, log, sqrt
from statistics import NormalDist

KINDS = ("converted", "closed", "silent", "censored")
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Row:
    """A time of the curve."""

    t: int
    at_risk: int
    counts: tuple[int, ...]
    incidence: Fraction
    variance: Fraction

    @property
    def ends(self) -> tuple[float, float] | tuple[None, None]:
        """The interval on the scale of log(-log(F))."""
        share = float(self.incidence)
        if self.incidence in (0, 1):
            return None, None
        centre = log(-log(share))
        half = Z * sqrt(self.variance) / abs(share * log(share))
        return exp(-exp(centre + half)), exp(-exp(centre - half))


def curve(sessions: Sequence[tuple[int, str]], *, minus: int) -> list[Row]:
    """The rows for sessions with a time and a kind of end. `minus` is what the variance takes off n: 1 (Aalen) or 0."""
    rows: list[Row] = []
    times = sorted({t for t, _ in sessions})
    survival, incidence = Fraction(1), Fraction(0)
    past: list[tuple[int, list[int], Fraction, Fraction]] = []
    for t in times:
        n = sum(other >= t for other, _ in sessions)
        counts = [sum(session == (t, kind) for session in sessions) for kind in KINDS]
        incidence += survival * Fraction(counts[0], n)
        past.append((n, counts, survival, incidence))
        survival *= 1 - Fraction(sum(counts[:3]), n)
        rows.append(Row(t, n, tuple(counts), incidence, _variance(past, minus)))
    return rows


def _variance(past: Sequence[tuple[int, list[int], Fraction, Fraction]], minus: int) -> Fraction:
    """The delta method: how the share at the last time moves with the shares of each time, which vary by themselves."""
    total = Fraction(0)
    now = past[-1][3]
    for n, counts, survival, incidence in past:
        converted, other = counts[0], counts[1] + counts[2]
        if n == 1 or not converted + other:
            continue
        left = n - converted - other
        # Where nobody is left, nothing comes after.
        b = (now - incidence) / Fraction(left, n) if left else Fraction(0)
        a = survival - b
        variances = [Fraction(d * (n - d), n * n * (n - minus)) for d in (converted, other)]
        covariance = Fraction(-converted * other, n * n * (n - minus))
        total += a * a * variances[0] + b * b * variances[1] - 2 * a * b * covariance
    return total


def medians(rows: Sequence[Row]) -> tuple[int | None, int | None, int | None]:
    """The median and its interval."""

    def first(values: Sequence[float | None]) -> int | None:
        return next(
            (row.t for row, value in zip(rows, values, strict=True) if value is not None and value >= 0.5 - 1e-12), None
        )

    shares = [float(row.incidence) for row in rows]
    highs = [share if row.ends[1] is None else row.ends[1] for row, share in zip(rows, shares, strict=True)]
    return first(shares), first(highs), first([row.ends[0] for row in rows])
