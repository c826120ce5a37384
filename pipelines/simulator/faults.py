"""The faults that the simulated API can have, and when each strikes.

A fault is drawn from the seed, the path and query, and how often that was requested. So a run meets the same faults,
whatever the order in which its workers ask. After `max_consecutive` faults in a row, a path answers well, so a client
that retries more often than that always gets through.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipelines.errors import ConfigurationError

FAULTS: dict[str, str] = {
    "429": "429 without Retry-After",
    "429-seconds": "429 with Retry-After in seconds",
    "429-date": "429 with Retry-After as an HTTP date",
    "5xx": "one of 500, 502, 503 and 504",
    "408": "408 Request Timeout",
    "425": "425 Too Early",
    "500": "500 Internal Server Error",
    "502": "502 Bad Gateway, with a body of HTML",
    "503": "503 Service Unavailable",
    "504": "504 Gateway Timeout, with a body of HTML",
    "timeout": "no answer for timeout_seconds, then the connection is closed",
    "drop": "the connection is closed without an answer",
    "cut": "the connection is closed in the middle of the body",
    "truncated": "200 whose body is whole by its length, but whose JSON ends early",
    "not-json": "200 with a page of HTML",
}
SERVER_ERRORS = ("500", "502", "503", "504")

# Settings that `--faults` takes besides the faults, and the fields that they set.
_SETTINGS = {
    "retry-after": "retry_after_seconds",
    "timeout-seconds": "timeout_seconds",
    "max-consecutive": "max_consecutive",
}


class Faults(BaseModel):
    """The probability of each fault per request, and the settings that shape them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: Mapping[str, float] = Field(default={}, description="probability by name of FAULTS; together at most 1")
    retry_after_seconds: float = Field(default=1, ge=0, description="what Retry-After says")
    timeout_seconds: float = Field(default=30, gt=0, description="how long a `timeout` hangs")
    max_consecutive: int = Field(default=3, ge=1, description="faults in a row on one path before it answers well")

    @field_validator("rates")
    @classmethod
    def _check_rates(cls, rates: Mapping[str, float]) -> Mapping[str, float]:
        for name, rate in rates.items():
            if name not in FAULTS:
                raise ConfigurationError(f"Unknown fault {name!r}; known faults: {', '.join(FAULTS)}.")
            if not 0 <= rate <= 1:
                raise ConfigurationError(f"Fault {name!r} has the probability {rate:g}; it must be between 0 and 1.")
        if sum(rates.values()) > 1 + 1e-9:
            raise ConfigurationError(f"The faults' probabilities add up to {sum(rates.values()):g}; at most 1 can be.")
        return rates

    @classmethod
    def all_at(cls, rate: float, **settings: float) -> "Faults":
        """Every fault, `rate` in total, in equal shares (500, 502, 503 and 504 each by their own name)."""
        names = [name for name in FAULTS if name != "5xx"]
        return cls.model_validate({"rates": dict.fromkeys(names, rate / len(names)), **settings})


def parse_faults(text: str) -> Faults:
    """Faults from `NAME=PROBABILITY,...`, for example `429=0.2,500=0.1,timeout=0.05,cut=0.1,retry-after=0.2`.

    Names are those of FAULTS, `all` for every fault in equal shares, and the settings `retry-after`, `timeout-seconds`
    and `max-consecutive`. An empty text means no faults. Raises ConfigurationError saying which part cannot be used.
    """
    rates: dict[str, float] = {}
    settings: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in FAULTS and name not in _SETTINGS and name != "all":
            known = ", ".join([*FAULTS, "all", *_SETTINGS])
            raise ConfigurationError(f"Unknown fault {name!r} in --faults; known: {known}.")
        try:
            number = float(value)
        except ValueError:
            problem = f"{value!r} is not a number" if equals else "it has no value"
            raise ConfigurationError(f"Fault {name!r} in --faults: {problem}; write {name}=0.1.") from None
        if name in rates or _SETTINGS.get(name) in settings:
            raise ConfigurationError(f"Fault {name!r} is given twice in --faults.")
        if name == "all":
            for each, rate in Faults.all_at(number).rates.items():
                rates[each] = rates.get(each, 0.0) + rate
        elif name in _SETTINGS:
            settings[_SETTINGS[name]] = number
        else:
            rates[name] = rates.get(name, 0.0) + number
    try:
        return Faults.model_validate({"rates": rates, **settings})
    except ValueError:
        raise ConfigurationError(
            "A setting in --faults cannot be used: retry-after must not be negative, timeout-seconds must be above 0, "
            "max-consecutive a whole number from 1."
        ) from None


class FaultDraws:
    """Which fault, if any, each request meets. Counts the requests of each path."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked: defaultdict[str, int] = defaultdict(int)
        self._in_a_row: defaultdict[str, int] = defaultdict(int)

    def draw(self, faults: Faults, target: str) -> str | None:
        """The fault of the next request of `target` (path and query), resolved to a status where it is `5xx`."""
        if not faults.rates:
            return None
        self._asked[target] += 1
        digest = hashlib.blake2b(f"{self._seed}/{target}/{self._asked[target]}".encode(), digest_size=16).digest()
        roll = int.from_bytes(digest[:8], "big") / 2**64
        fault = None
        for name, rate in faults.rates.items():
            if roll < rate:
                fault = name
                break
            roll -= rate
        if fault is None or self._in_a_row[target] >= faults.max_consecutive:
            self._in_a_row[target] = 0
            return None
        self._in_a_row[target] += 1
        return SERVER_ERRORS[digest[8] % len(SERVER_ERRORS)] if fault == "5xx" else fault
