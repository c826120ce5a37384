"""What a model may depend on besides rows: time, and the settings that are marked as `FOR_MODELS`.

Time is `data_through`, and the bounds of plausible times, `plausible_from` and `plausible_until`.

The marks in `pipelines/settings.py` are the only list of settings. The columns of source.parameters follow from them,
and so does which models a changed setting makes stale. A setting's column has the setting's name without
`embed_analytics_`. A number of days, hours, minutes or seconds is an INTERVAL, and its unit is left out of the name.
The path of a claim (a setting whose name ends in `_claim`) is a list of JSON pointers: the claims that it may name, in
the order in which they are tried. `late_after` follows from a setting that SQL cannot read: when the refresh runs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin

from pipelines.errors import ConfigurationError
from pipelines.home.times import PLAUSIBLE_AHEAD
from pipelines.oneschema.claim_paths import pointer, readings
from pipelines.settings import FOR_MODELS, Settings
from pipelines.warehouse.freshness import late_after

ParameterValue = timedelta | date | bool | int | float | str | list[str] | None

_PREFIX = "embed_analytics_"
_POINTERS = "varchar[]"
_UNITS = frozenset({"days", "hours", "minutes", "seconds"})
_DUCKDB_TYPES: dict[type, str] = {bool: "boolean", int: "bigint", float: "double", str: "varchar", date: "date"}


@dataclass(frozen=True)
class Parameter:
    """One setting as a column of source.parameters. `unit` is the unit of a duration; `derived` makes the value where
    it is not the setting's own."""

    name: str
    setting: str
    duckdb_type: str
    unit: str | None = None
    derived: Callable[[Settings], ParameterValue] | None = None

    def value(self, settings: Settings) -> ParameterValue:
        if self.derived is not None:
            return self.derived(settings)
        value: Any = getattr(settings, self.setting)
        if value is None:
            return None
        if self.duckdb_type == _POINTERS:
            return _pointers(self.setting, value)
        return value if self.unit is None else timedelta(**{self.unit: value})


def _marked(settings: type[Settings]) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    for setting, field in settings.model_fields.items():
        if FOR_MODELS not in field.metadata:
            continue
        stem, _, unit = setting.rpartition("_")
        if unit in _UNITS:
            found.append(Parameter(stem.removeprefix(_PREFIX), setting, "interval", unit))
        elif unit == "claim":
            found.append(Parameter(setting.removeprefix(_PREFIX), setting, _POINTERS))
        else:
            found.append(Parameter(setting.removeprefix(_PREFIX), setting, _duckdb_type(setting, field.annotation)))
    return tuple(found)


def _pointers(setting: str, path: str) -> list[str]:
    try:
        return [pointer(keys) for keys in readings(path)]
    except ValueError as error:
        raise ConfigurationError(f"{setting.upper()}: {error}") from None


def _duckdb_type(setting: str, annotation: object) -> str:
    kinds: set[object] = {annotation}
    if get_origin(annotation) in (Union, UnionType):
        kinds = set(get_args(annotation)) - {NoneType}
    elif get_origin(annotation) is Literal:
        kinds = {type(choice) for choice in get_args(annotation)}
    (kind,) = kinds if len(kinds) == 1 else (None,)
    if not isinstance(kind, type) or kind not in _DUCKDB_TYPES:
        known = ", ".join(kind.__name__ for kind in _DUCKDB_TYPES)
        raise TypeError(f"{setting} cannot be FOR_MODELS: its type must be {known}, or one of these or None.")
    return _DUCKDB_TYPES[kind]


PARAMETERS = (
    *_marked(Settings),
    Parameter("late_after", "embed_analytics_refresh_cron", "interval", derived=late_after),
)
TIMES = ("data_through", "plausible_from", "plausible_until")
PARAMETER_NAMES = frozenset({*TIMES, *(parameter.name for parameter in PARAMETERS)})


@dataclass(frozen=True)
class Parameters:
    """The one row of source.parameters.

    `data_through` is naive UTC, and None before the first complete sweep. `settings` has the value of each of
    PARAMETERS by name.
    """

    data_through: datetime | None
    settings: Mapping[str, ParameterValue]

    @classmethod
    def from_settings(cls, settings: Settings, data_through: datetime | None = None) -> Self:
        return cls(data_through, {parameter.name: parameter.value(settings) for parameter in PARAMETERS})

    @property
    def plausible_until(self) -> datetime | None:
        """The latest time that is believed; a later one is a mistake, or too early to tell. None: there is no bound."""
        return None if self.data_through is None else self.data_through + PLAUSIBLE_AHEAD

    def version(self, name: str) -> str:
        """A text that changes when the setting changes."""
        value = self.settings[name]
        return f"{name}={value.total_seconds() if isinstance(value, timedelta) else json.dumps(value, default=str)}"
