"""The names and types of claim columns."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.errors import ConfigurationError
from pipelines.home.tables import TIMESTAMP
from pipelines.oneschema.claim_paths import naming, split
from pipelines.oneschema.reading import Unreadable, read_integer, read_timestamp

_FOREIGN = re.compile(r"[^a-z0-9_]", re.DOTALL)

# Readers limit the length of identifiers. A longer name is cut, and gets a suffix as a colliding one does.
_LONGEST_NAME = 200


def _read_boolean(text: object) -> bool | None:
    return {"true": True, "false": False}.get(str(text))


def _each(read: Callable[[object], object]) -> Callable[[pl.Series, pl.DataType], pl.Series]:
    def cast(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
        found = [None if text is None else read(text) for text in texts]
        return pl.Series([None if isinstance(value, Unreadable) else value for value in found], dtype=dtype)

    return cast


# DuckDB's type names. A value that its type cannot hold is NULL, and its field is quarantined.
CLAIM_TYPES: dict[str, tuple[pl.DataType, Callable[[pl.Series, pl.DataType], pl.Series]]] = {
    "VARCHAR": (pl.String(), lambda texts, _: texts),
    "BIGINT": (pl.Int64(), _each(read_integer)),
    "DOUBLE": (pl.Float64(), lambda texts, dtype: texts.cast(dtype, strict=False)),
    "BOOLEAN": (pl.Boolean(), _each(_read_boolean)),
    "DATE": (pl.Date(), lambda texts, _: texts.str.to_date("%Y-%m-%d", strict=False)),
    "TIMESTAMP": (TIMESTAMP, _each(read_timestamp)),
}


@dataclass(frozen=True)
class ClaimColumn:
    """The column of a claim path. `type` is a key of CLAIM_TYPES."""

    name: str
    type: str

    @property
    def dtype(self) -> pl.DataType:
        return CLAIM_TYPES[self.type][0]

    def cast(self, texts: pl.Series) -> pl.Series:
        dtype, cast = CLAIM_TYPES[self.type]
        return cast(texts, dtype).alias(self.name)


def check_claim_types(types: Mapping[str, str]) -> dict[str, str]:
    """The declared types in upper case. Raises ConfigurationError for a type that claim columns cannot have."""
    upper = {path: declared.strip().upper() for path, declared in types.items()}
    for path, declared in upper.items():
        if declared not in CLAIM_TYPES:
            raise ConfigurationError(
                f"EMBED_ANALYTICS_CLAIM_TYPES: {path!r} is declared {declared!r}; use one of {', '.join(CLAIM_TYPES)}."
            )
    return upper


def claim_columns(chosen: Iterable[str], types: Mapping[str, str]) -> dict[str, ClaimColumn]:
    """The columns of the chosen claim paths, with their declared types."""
    return {path: ClaimColumn(name, _type(path, types)) for path, name in column_names(chosen).items()}


def _type(path: str, types: Mapping[str, str]) -> str:
    """The declared type of a path. If several declarations name the path, the one equal to it wins."""
    named = [declared for declared in (path, *sorted(types)) if declared in types and naming(declared).fullmatch(path)]
    return types[named[0]] if named else "VARCHAR"


def column_names(paths: Iterable[str]) -> dict[str, str]:
    """Column names by path, by the rule in docs/architecture.md, "Claims".

    >>> column_names(["org.Plan Name"])
    {'org.Plan Name': 'claim_org__plan_name'}
    """
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(_folded(path), []).append(path)
    names: dict[str, str] = {}
    for folded, claimants in by_name.items():
        plain = [path for path in claimants if path == folded] or sorted(claimants)
        if len(folded) <= _LONGEST_NAME:
            names[plain[0]] = f"claim_{folded}"
    taken = set(names.values())
    for folded, claimants in sorted(by_name.items()):
        for path in sorted(claimants):
            if path not in names:
                digest = hashlib.sha256(path.encode()).hexdigest()
                digits = 6
                while (name := f"claim_{folded[:_LONGEST_NAME]}_{digest[:digits]}") in taken:
                    digits += 1
                taken.add(name)
                names[path] = name
    return {path: names[path] for path in sorted(names)}


def _folded(path: str) -> str:
    return "__".join(_FOREIGN.sub("_", level.lower()) for level in split(path))
