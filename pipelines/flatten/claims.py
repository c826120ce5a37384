"""Takes the payloads of claims apart into paths, once for each run of neighbouring events that share a payload.

Paths are those of `pipelines.oneschema.claim_paths`. The shapes of a few payloads are made into regular expressions
(`pipelines.flatten.claim_shapes`). With them Polars extracts the values of all payloads that fit, leaving their JSON
text untouched. Payloads that fit none are parsed in Python.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from pipelines.flatten.claim_shapes import Shape, commonest_shape
from pipelines.flatten.decryption import Decryption
from pipelines.home.times import PLAUSIBLE_FROM, micros
from pipelines.oneschema.claim_paths import walk
from pipelines.oneschema.json_text import JsonText, loads_carefully

# It is cheaper to parse fewer payloads than this one by one than to look for their shape.
_FEWEST_OF_A_SHAPE = 64
_LOOKED_AT = 8

# Payloads that are parsed one by one are moved from Python lists into a frame after this many.
_SINGLE_TOGETHER = 20_000

_QUOTE, _NULL, _ARRAY = b'"n['
# By the first byte of a value's JSON; any other begins a number.
_JSON_TYPES = {_QUOTE: "string", ord("t"): "boolean", ord("f"): "boolean", _NULL: "null", _ARRAY: "array"}
SCALAR_TYPES = frozenset({"string", "number", "boolean"})
# As `loads_carefully` reads the values, with the numbers kept as text.
_TYPES: dict[type, str] = {
    str: "string",
    JsonText: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
    type(None): "null",
}
_BOOLEANS = {True: "true", False: "false"}

# What the column of a path begins with in the frames here.
_COLUMN = "path "

# `first` of a claim path that no event with a plausible time has: behind those of all others.
NEVER = 2**63 - 1


@dataclass
class Seen:
    """What is known about a claim path. `first` and `last` are occurred_at in microseconds since 1970.

    `first` is the first that is not too early to be plausible, or NEVER: one bad date must not take a column from
    another claim.
    """

    types: set[str] = field(default_factory=set[str])
    event_count: int = 0
    first: int = NEVER
    last: int = -(2**63)

    def add(self, types: Iterable[str], event_count: int, first: int, last: int) -> None:
        self.types.update(types)
        self.event_count += event_count
        self.first = min(self.first, first)
        self.last = max(self.last, last)


# By date_index, then by path. An object and the paths within it are both listed.
SeenByDate = dict[int, dict[str, Seen]]


class EncryptedCounts(NamedTuple):
    """The events of a date of whose claims raw has any encrypted, and those of which a key for that is missing."""

    event_count: int
    missing_key_count: int


@dataclass(frozen=True)
class Claims:
    """The claims of a frame of events, in the order of the events."""

    seen: SeenByDate
    encrypted: Mapping[int, EncryptedCounts]
    """Of the dates that have any encrypted claims."""
    runs: pl.Series
    """The number of each event's run. Neighbouring events of one date with the same payload form a run."""
    payloads: pl.Series
    """The payload of each run, decrypted; NULL for events without claims."""
    _shaped: list[pl.DataFrame]
    """`run`, and a String column per path: the text of its scalar, NULL for anything else. A run is in one at most."""
    _open: list[pl.DataFrame]
    """For each of these, what else its runs have, a row per scalar: `run`, `path`, `text`. Keys may be ids, so these
    paths are not columns."""
    _single: list[pl.DataFrame]
    """For runs without a shape, likewise."""

    def texts(self, paths: Iterable[str]) -> tuple[pl.DataFrame, pl.Series]:
        """The scalars of these paths, a String column for each path; and for each event the row that is its run's, or
        NULL where its run has none of them."""
        columns = {_column(path): path for path in paths}
        parts = [pl.DataFrame(schema={"run": pl.UInt32(), **dict.fromkeys(columns, pl.String())})]
        wanted = pl.Series(list(columns), dtype=pl.String())
        singles, opened = (
            [
                group.filter(pl.col("path").is_in(wanted.implode())).pivot("path", index="run", values="text")
                for group in groups
            ]
            for groups in (self._single, self._open)
        )
        parts += [
            fixed if others.is_empty() else fixed.join(others, on="run", how="left")
            for fixed, others in zip(
                (group.select("run", *(name for name in columns if name in group.columns)) for group in self._shaped),
                opened,
                strict=True,
            )
        ]
        parts += singles
        # In one piece: values are gathered from it once for each event.
        found = pl.concat(parts, how="diagonal", rechunk=True)
        count = int(self.runs[-1]) + 1 if self.runs.len() else 0
        row_of_run = pl.repeat(None, count, dtype=pl.UInt32(), eager=True).scatter(
            found["run"], pl.int_range(found.height, dtype=pl.UInt32(), eager=True)
        )
        return found.select(pl.col(name).alias(path) for name, path in columns.items()), row_of_run.gather(self.runs)


def read_claims(events: pl.DataFrame, decryption: Decryption | None = None) -> Claims:
    """The claims of events (`date_index`, `claims`, `occurred_at`), which must be sorted by date. This is cheapest when
    the events of a session are neighbours. Without `decryption`, no claims are encrypted."""
    seen: SeenByDate = defaultdict(lambda: defaultdict(Seen))
    claims, date_index = pl.col("claims"), pl.col("date_index")
    is_start = claims.ne_missing(claims.shift()) | date_index.ne_missing(date_index.shift())
    starts = events.select(is_start=is_start)["is_start"]
    # Only because they are marked as sorted are the groups taken as slices: hashing them costs as much as all the rest.
    runs = (starts.cum_sum().cast(pl.UInt32()) - 1).alias("run").set_sorted()
    at = pl.col("occurred_at").to_physical()
    spans = (
        events.select(runs, at.alias("last"), pl.when(at >= micros(PLAUSIBLE_FROM)).then(at).alias("first"))
        .group_by("run", maintain_order=True)
        .agg(pl.len().alias("event_count"), pl.col("first").min().fill_null(NEVER), pl.col("last").max())
    )
    of_runs = events.select(pl.col("date_index", "claims").gather(starts.arg_true()))
    encrypted: dict[int, EncryptedCounts] = {}
    if decryption is not None:
        found = decryption.decrypt(of_runs["claims"])
        encrypted = _encrypted_counts(of_runs.select("date_index").hstack(found).hstack(spans.select("event_count")))
        of_runs = of_runs.with_columns(found["claims"])
    payloads = (
        of_runs.hstack(spans)
        .filter(claims.is_not_null())
        # Most shapes differ in their number of keys, so few expressions are tried in vain within a bucket.
        .with_columns(keys=claims.str.count_matches('":', literal=True))
    )
    shaped: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    single: list[pl.DataFrame] = []
    for _, bucket in payloads.group_by("keys", maintain_order=True):
        rest = _read_shapes(bucket.drop("keys"), shaped, seen)
        single += [_read_one_by_one(part, seen) for part in rest.iter_slices(_SINGLE_TOGETHER)]
    by_date = {date_index: dict(paths) for date_index, paths in seen.items()}
    fixed, opened = [group for group, _ in shaped], [others for _, others in shaped]
    return Claims(by_date, encrypted, runs, of_runs["claims"], fixed, opened, single)


def _encrypted_counts(runs: pl.DataFrame) -> dict[int, EncryptedCounts]:
    counts = (
        runs.filter("is_encrypted")
        .group_by("date_index")
        .agg(pl.col("event_count").sum(), pl.col("event_count").filter("has_missing_key").sum().alias("missing"))
    )
    return {date_index: EncryptedCounts(*of_date) for date_index, *of_date in counts.iter_rows()}


def _read_shapes(
    bucket: pl.DataFrame, shaped: list[tuple[pl.DataFrame, pl.DataFrame]], seen: SeenByDate
) -> pl.DataFrame:
    """Appends the payloads that have a shape to `shaped`, and returns the others."""
    while bucket.height >= _FEWEST_OF_A_SHAPE:
        shape = commonest_shape(bucket["claims"].gather_every(max(1, bucket.height // _LOOKED_AT)))
        if shape is None:
            break
        taken = bucket.with_columns(found=pl.col("claims").str.extract_groups(shape.expression))
        fits = pl.col("found").struct.field("1").is_not_null()
        shaped.append(_read_shape(taken.filter(fits), shape, seen))
        bucket = taken.filter(~fits).drop("found")
    return bucket


def _read_shape(group: pl.DataFrame, shape: Shape, seen: SeenByDate) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What `Claims` has in `_shaped` and `_open` of payloads that fit this shape."""
    columns = list(map(_column, shape.leaves))
    has_escapes = bool(group["claims"].str.contains("\\", literal=True).any())
    names = [f"{kind} {name}" for kind, name in shape.groups]
    texts = group.drop("claims").with_columns(pl.col("found").struct.rename_fields(names)).unnest("found")
    # The first byte of each value, as a number.
    marks = texts.select("date_index", pl.col(columns).cast(pl.Binary()).bin.get(0))
    spans = texts.group_by("date_index").agg(pl.col("event_count").sum(), pl.col("first").min(), pl.col("last").max())
    totals = spans.join(marks.group_by("date_index").agg(pl.col(columns).unique()), on="date_index")
    types_of: dict[str, set[str]] = {column: set() for column in columns}
    for date_index, event_count, first, last, *found in totals.iter_rows():
        for path in shape.objects:
            seen[date_index][path].add(["object"], event_count, first, last)
        for path, column, of_column in zip(shape.leaves, columns, found, strict=True):
            types = {_JSON_TYPES.get(mark, "number") for mark in of_column}
            types_of[column] |= types
            seen[date_index][path].add(types, event_count, first, last)
    scalars = texts.select(
        "run",
        *(
            _scalar(pl.col(column), pl.lit(marks[column]), types, has_escapes=has_escapes)
            for column, types in types_of.items()
        ),
    )
    return scalars, _read_open_members(texts, shape, seen, has_escapes=has_escapes)


def _read_open_members(texts: pl.DataFrame, shape: Shape, seen: SeenByDate, *, has_escapes: bool) -> pl.DataFrame:
    """`run`, `path`, `text`: a row per scalar of the open members."""
    if not shape.open_members:
        return pl.DataFrame(schema={"run": pl.UInt32(), "path": pl.String(), "text": pl.String()})
    found = pl.concat(
        texts.select(
            "run",
            *("date_index", "event_count", "first", "last"),
            path=pl.concat_str(pl.lit(_column(before)), f"key {number}"),
            text=f"value {number}",
        )
        for number, before in enumerate(shape.open_members)
    ).with_columns(mark=pl.col("text").cast(pl.Binary()).bin.get(0))
    totals = found.group_by("date_index", "path", "mark").agg(
        pl.col("event_count").sum(), pl.col("first").min(), pl.col("last").max()
    )
    types: set[str] = set()
    for date_index, path, mark, event_count, first, last in totals.iter_rows():
        kind = _JSON_TYPES.get(mark, "number")
        types.add(kind)
        seen[date_index][path.removeprefix(_COLUMN)].add((kind,), event_count, first, last)
    text = _scalar(pl.col("text"), pl.col("mark"), types, has_escapes=has_escapes)
    return found.select("run", "path", text=text).drop_nulls("text")


def _scalar(text: pl.Expr, mark: pl.Expr, types: set[str], *, has_escapes: bool) -> pl.Expr:
    """The text of a scalar from its JSON and its first byte, for a column of these types. `has_escapes` says whether
    its strings may have escapes."""
    if "string" in types:
        # A quote within the string would be escaped.
        bare = text.str.strip_chars('"')
        if has_escapes:
            escaped = text.str.contains("\\", literal=True) & (mark == _QUOTE)
            read = pl.when(escaped).then(text).map_batches(_unescape, pl.String())
            bare = pl.when(escaped).then(read).otherwise(bare)
        text = bare if types == {"string"} else pl.when(mark == _QUOTE).then(bare).otherwise(text)
    return pl.when(mark.is_in([_ARRAY, _NULL]).not_()).then(text) if types & {"array", "null"} else text


def _unescape(texts: pl.Series) -> pl.Series:
    distinct = texts.drop_nulls().unique().to_list()
    if not distinct:
        return texts
    return texts.replace_strict(distinct, list(map(loads_carefully, distinct)), default=None, return_dtype=pl.String())


def _read_one_by_one(group: pl.DataFrame, seen: SeenByDate) -> pl.DataFrame:
    # Every path with a type has a number, since Polars takes numbers from Python in a fraction of the time of texts.
    numbers: dict[tuple[str, str], int] = {}
    rows: list[int] = []
    kinds: list[int] = []
    texts: list[str | None] = []
    for row, claims in enumerate(group["claims"]):
        payload = loads_carefully(claims, keep_numbers=True)
        assert isinstance(payload, dict), "a payload that is not an object leaves no claims"
        for path, value in walk(payload):
            rows.append(row)
            kinds.append(numbers.setdefault((path, _TYPES[type(value)]), len(numbers)))
            texts.append(value if isinstance(value, str) else _BOOLEANS[value] if isinstance(value, bool) else None)
    found = pl.DataFrame(
        {"row": rows, "kind": kinds, "text": texts},
        schema={"row": pl.UInt32(), "kind": pl.UInt32(), "text": pl.String()},
    )
    found = found.drop("row").hstack(group.drop("claims").select(pl.all().gather(found["row"])))
    totals = found.group_by("date_index", "kind").agg(
        pl.col("event_count").sum(), pl.col("first").min(), pl.col("last").max()
    )
    named = list(numbers)
    for date_index, kind, event_count, first, last in totals.iter_rows():
        path, type_ = named[int(kind)]
        seen[date_index][path].add((type_,), event_count, first, last)
    paths = pl.DataFrame(
        [(_column(path), type_ in SCALAR_TYPES) for path, type_ in named],
        schema={"path": pl.String(), "is_scalar": pl.Boolean()},
        orient="row",
    )
    return found.hstack(paths[found["kind"]]).filter("is_scalar").select("run", "path", "text")


def _column(path: str) -> str:
    # A path may be any text, even `claims`.
    return _COLUMN + path
