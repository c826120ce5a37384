"""How numbers are written: as the page writes them, so that a reader who follows the link finds the same."""

from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from pipelines.digest.numbers import Number

NOT_KNOWN = "not known"


def counted(count: float | None) -> str:
    return NOT_KNOWN if count is None else f"{count:,.0f}"


def share(rate: float | None) -> str:
    return NOT_KNOWN if rate is None else f"{_rounded(100 * Decimal(rate), '0.1'):,}%"


def duration(seconds: float | None) -> str:
    """The seconds in at most two units."""
    if seconds is None:
        return NOT_KNOWN
    if seconds < 60:
        return f"{_rounded(Decimal(seconds), '0.1')} s"
    minutes, rest = divmod(int(_rounded(Decimal(seconds), "1")), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24:,} days {hours % 24} h"


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def out_of(number: Number) -> str:
    """What a rate or a duration is out of. Empty for a count, and where nothing was there."""
    if not number.denominator:
        return ""
    n = counted(number.denominator)
    return f"n = {n}" if number.numerator is None else f"{counted(number.numerator)} of {n}"


def interval(number: Number, written: Callable[[float | None], str]) -> str:
    if number.low is None and number.high is None:
        return "too few for an interval"
    return f"95 %: {written(number.low)} to {written(number.high)}"


def _rounded(value: Decimal, to: str) -> Decimal:
    """Halves are rounded up, as JavaScript does, and not to the even digit."""
    return value.quantize(Decimal(to), ROUND_HALF_UP)
