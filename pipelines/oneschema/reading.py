"""Reads the fields of an event, for landing (the folder) and for flattening (the row).

Polars reads values of the documented type, a column at a time. The functions of this module read any other value, one
at a time. They read what needs no guessing: integers as text or as a double without a fraction; times as epoch seconds,
as milliseconds (1e12 to 1e14), as either in decimal text, and as ISO 8601 with a zone. null is a missing value.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl

from pipelines.home.tables import TIMESTAMP
from pipelines.oneschema.json_text import Json, dumps

MILLISECONDS_FROM = 1e12
MILLISECONDS_TO = 1e14

# The first and last microsecond that a timestamp can hold in all of our readers: the years 1 to 9999.
FIRST_MICROSECOND = -62_135_596_800_000_000
LAST_MICROSECOND = 253_402_300_799_999_999

# From this many seconds on, double arithmetic computes the microseconds of a double exactly: its fraction has at most
# 39 bits, and 39 bits times 1e6 = 15625 * 2**6 fit into 53.
EXACT_FROM_SECONDS = 2.0**14

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,64}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,19}(\.[0-9]{1,30})?")
# ISO 8601 as public systems print it: extended or basic form, a T or a space, a point or a comma before the fraction,
# an offset with hours only (PostgreSQL).
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?|[0-9]{8}[Tt ][0-9]{4}(?:[0-9]{2})?)"
    r"(?:[.,]([0-9]{1,30}))? ?(Z|z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)"
)


@dataclass(frozen=True)
class Unreadable:
    """Why a value could not be read."""

    reason: str


def read_text(value: object) -> str | Unreadable:
    return value if isinstance(value, str) else Unreadable(f"{json_type(value)}, not a text")


def read_name(value: object) -> str | Unreadable:
    """A text that identifies something, so it must not be empty."""
    return Unreadable("empty") if value == "" else read_text(value)


def read_boolean(value: object) -> bool | Unreadable:
    return value if isinstance(value, bool) else Unreadable(f"{json_type(value)}, not a boolean")


def read_object(value: Json) -> str | Unreadable:
    """An object, as JSON."""
    return dumps(value) if isinstance(value, dict) else Unreadable(f"{json_type(value)}, not an object")


def read_integer(value: object) -> int | Unreadable:
    """A 64-bit integer, from a number, a text, or a double that is a whole number in the exact range."""
    if isinstance(value, str):
        number = int(value) if _INTEGER.fullmatch(value) else None
    elif isinstance(value, float):
        number = int(value) if value.is_integer() and abs(value) <= 2.0**53 else None
    else:
        number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if number is None:
        return Unreadable(f"{json_type(value)}, not an integer")
    return number if -(2**63) <= number < 2**63 else Unreadable("beyond 64 bits")


def read_count(value: object) -> int | Unreadable:
    count = read_integer(value)
    return Unreadable("negative") if isinstance(count, int) and count < 0 else count


def read_timestamp(value: object) -> int | Unreadable:
    """A `created_at` as microseconds since 1970 UTC, rounded half to even. A double counts as its exact value."""
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value):
            return _read_iso(value)
        value = int(value) if _INTEGER.fullmatch(value) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Unreadable(f"{json_type(value)}, not a time")
    if not math.isfinite(value):
        return Unreadable("not finite")
    is_milliseconds = MILLISECONDS_FROM <= value <= MILLISECONDS_TO
    return _in_range(round(Fraction(value) * (1_000 if is_milliseconds else 1_000_000)))


def _read_iso(text: str) -> int | Unreadable:
    found = _ISO.fullmatch(text)
    if found is None:
        return Unreadable("a text, neither a number nor an ISO time with a zone")
    local, fraction, zone = found.groups()
    if fraction is not None and len(local) in (len("2026-11-20T10:00"), len("20261120T1000")):
        return Unreadable("a fraction of a minute")
    try:
        moment = datetime.fromisoformat(f"{local}{zone if zone[0] in '+-' else '+00:00'}")
    except ValueError:
        return Unreadable("not a time that exists")
    whole_seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return _in_range(whole_seconds * 1_000_000 + round(Fraction(f"0.{fraction or 0}") * 1_000_000))


def _in_range(read: int) -> int | Unreadable:
    is_in_range = FIRST_MICROSECOND <= read <= LAST_MICROSECOND
    return read if is_in_range else Unreadable("not a time between the years 1 and 9999")


def microseconds(created_at: pl.Expr) -> pl.Expr:
    """`read_timestamp` for a column of doubles (Int64), null where it cannot be read.

    It is exact from EXACT_FROM_SECONDS on. Before that (the first hours of 1970) it may be off by a microsecond, so
    those rows are read one at a time.
    """
    is_milliseconds = created_at.is_between(MILLISECONDS_FROM, MILLISECONDS_TO)
    is_seconds = created_at.is_between(FIRST_MICROSECOND / 1e6 - 1, LAST_MICROSECOND / 1e6 + 1)
    number = pl.when(is_milliseconds | is_seconds).then(created_at)
    whole = number.floor()
    scale = pl.when(is_milliseconds).then(1_000).otherwise(1_000_000)
    fraction = ((number - whole) * scale).round(0, mode="half_to_even")
    read = whole.cast(pl.Int64) * scale + fraction.cast(pl.Int64)
    return pl.when(read.is_between(FIRST_MICROSECOND, LAST_MICROSECOND)).then(read)


def json_type(value: object) -> str:
    """The JSON type of a decoded value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    return "an object" if isinstance(value, dict) else "an array"


@dataclass(frozen=True)
class Kind:
    """A kind of value: its documented JSON type, raw's type for it, and how any other value is read.

    `read` also accepts every value of the JSON type, unless it `is_picky`.
    """

    json_type: type
    raw_type: pl.DataType
    read: Callable[[Json], object]
    is_picky: bool = False
    lake_type: pl.DataType | None = None
    """The type in the lake, if it differs from raw's."""

    @property
    def is_converted(self) -> bool:
        return self.lake_type is not None


TEXT = Kind(str, pl.String(), read_text)
NAME = Kind(str, pl.String(), read_name, is_picky=True)
INTEGER = Kind(int, pl.Int64(), read_integer)
BOOLEAN = Kind(bool, pl.Boolean(), read_boolean)
TIME = Kind(float, pl.Float64(), read_timestamp, is_picky=True, lake_type=TIMESTAMP)
OBJECT = Kind(dict, pl.String(), read_object)
