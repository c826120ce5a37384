"""The claim paths of event dates: a bounded list for each date, and the choice of columns that follows from them all.

Claim names may be ids, so their number has no bound. The record of an event date lists the *first* paths. Of those that
held a scalar that day, these are the `list_length` smallest by first occurred_at (see claims.Seen), then path; and as
many of those that did not. The record also lists the paths that have a column, and counts the paths that it does not
list. The list depends only on the day's events and the choice of columns, so it does not depend on the order of
arrival.

Choosing the columns from the first paths gives the same choice as choosing from all paths. Say that path p is among the
N smallest of all by (first occurred_at, path), and was a scalar when it first occurred, on date D. If it were not among
the first N scalars of D, N others would be smaller on D, and so over all dates. So D lists p, with its first
occurred_at, and any other path can only look larger than it is. There is one exception: a path that was null, an array
or an object when it first occurred, on a date with more such paths than are listed, is ranked by a later date. No
bounded list can do better: to tell whether two dates share a path takes both of them whole.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest

import polars as pl

from pipelines.flatten.claim_columns import ClaimColumn, claim_columns
from pipelines.flatten.claims import NEVER, SCALAR_TYPES, Seen
from pipelines.flatten.lake_tables import CLAIMS_CATALOGUE
from pipelines.home.layout import UNKNOWN_DATE
from pipelines.home.tables import TIMESTAMP

CLAIM_RECORD = pl.Schema(
    {
        "path": pl.String(),
        "types": pl.List(pl.String()),
        "event_count": pl.Int64(),
        "first": pl.Int64(),
        "last": pl.Int64(),
        "is_first": pl.Boolean(),
        "column_name": pl.String(),
        "column_type": pl.String(),
    }
)
"""A listed claim path of an event date: what was seen of it (see claims.Seen), whether it is one of the first paths,
and its claim column if it has one."""

ClaimRow = tuple[str, list[str], int, int, int, bool, str | None, str | None]
"""The values of a CLAIM_RECORD."""

_SHORTEST_LIST = 128
_LONGEST_CATALOGUE = 2_000


def list_length(column_limit: int) -> int:
    """How many scalar paths, and how many others, an event date lists: at least enough to choose the columns from."""
    return max(_SHORTEST_LIST, column_limit)


def first_paths(seen: Mapping[str, Seen], length: int) -> dict[str, Seen]:
    """The first paths of an event date."""
    scalars = (path for path, known in seen.items() if known.types & SCALAR_TYPES)
    others = (path for path, known in seen.items() if not known.types & SCALAR_TYPES)
    found = [nsmallest(length, paths, key=lambda path: (seen[path].first, path)) for paths in (scalars, others)]
    return {path: seen[path] for paths in found for path in paths}


@dataclass(frozen=True)
class ClaimsOfDate:
    """The claims of an event date: all that were seen, the first paths, and the choice of columns over all dates."""

    seen: Mapping[str, Seen]
    first: Collection[str]
    chosen: Mapping[str, ClaimColumn]

    @cached_property
    def columns(self) -> dict[str, ClaimColumn]:
        """The chosen columns that the date has."""
        return {path: column for path, column in self.chosen.items() if path in self.seen}

    def rows(self) -> list[ClaimRow]:
        """The listed paths, sorted."""
        return [_row(path, self.seen[path], self.first, self.columns) for path in sorted({*self.first, *self.columns})]

    def columns_of_file(self, event_date: str, event_count: int) -> dict[str, ClaimColumn]:
        """The chosen columns that the date's file has. It has all of them where the date should change nothing for
        readers that take the columns of one file for those of all: a date without events, and events without a date."""
        return dict(self.chosen) if _has_all(event_date, event_count) else self.columns

    @property
    def unlisted_count(self) -> int:
        return len(self.seen) - len({*self.first, *self.columns})


def _has_all(event_date: str, event_count: int) -> bool:
    return event_date == UNKNOWN_DATE or event_count == 0


def _row(path: str, known: Seen, first: Collection[str], columns: Mapping[str, ClaimColumn]) -> ClaimRow:
    column = columns.get(path)
    name, declared = (None, None) if column is None else (column.name, column.type)
    return (path, sorted(known.types), known.event_count, known.first, known.last, path in first, name, declared)


def of_records(records: pl.DataFrame) -> pl.DataFrame:
    """CLAIM_RECORD: a row for each event_date and listed claim path of LAKE_RECORDS."""
    return records.select("event_date", "claims").explode("claims").drop_nulls("claims").unnest("claims")


def replaced(claims: pl.DataFrame, listed: Mapping[str, Iterable[ClaimRow]]) -> pl.DataFrame:
    """`claims`, with the rows of the dates in `listed` replaced."""
    rows = [(event_date, *row) for event_date, of_date in listed.items() for row in of_date]
    others = claims.filter(pl.col("event_date").is_in(list(listed)).not_())
    return pl.concat([others, pl.DataFrame(rows, schema=claims.schema, orient="row")])


def choose(claims: pl.DataFrame, limit: int, types: Mapping[str, str]) -> dict[str, ClaimColumn]:
    """The claim columns by path. They are the `limit` smallest paths, by first occurred_at, then path, of those that
    ever held a scalar. A path that was only ever null, an array or an object has none."""
    is_scalar = pl.any_horizontal(pl.col("types").list.contains(kind) for kind in sorted(SCALAR_TYPES))
    totals = (
        claims.lazy()
        .filter("is_first")
        .group_by("path")
        .agg(is_scalar.any().alias("is_scalar"), pl.col("first").min())
        .filter("is_scalar")
        .sort("first", "path")
        .head(limit)
        .collect()
    )
    return claim_columns(totals["path"], types)


def choice_digest(columns: Mapping[str, ClaimColumn]) -> str:
    """A digest that tells one choice from another."""
    chosen = sorted((path, column.name, column.type) for path, column in columns.items())
    return hashlib.blake2b(repr(chosen).encode(), digest_size=8).hexdigest()


def chosen_otherwise(records: pl.DataFrame, columns: Mapping[str, ClaimColumn]) -> set[str]:
    """The event dates of LAKE_RECORDS whose claim columns are not those of this choice.

    A date that does not list all of its paths may have any path. It is included unless it was flattened with this very
    choice, and so is a date that has all of the columns.
    """
    chosen = pl.DataFrame(
        [(path, column.name, column.type) for path, column in columns.items()],
        schema={"path": pl.String(), "name": pl.String(), "type": pl.String()},
        orient="row",
    )
    differs = pl.col("column_name").ne_missing(pl.col("name")) | pl.col("column_type").ne_missing(pl.col("type"))
    listed_otherwise = of_records(records).join(chosen, on="path", how="left").filter(differs)
    other = records.filter(pl.col("claim_choice") != choice_digest(columns)).select(
        "event_date", "event_count", "unlisted_claim_count"
    )
    others = {date for date, count, unlisted in other.iter_rows() if unlisted > 0 or _has_all(date, count)}
    return {*listed_otherwise["event_date"], *others}


def catalogue(records: pl.DataFrame) -> pl.DataFrame:
    """CLAIMS_CATALOGUE of LAKE_RECORDS, sorted by path. It has the paths with a column, then the smallest others by
    first occurred_at, then path, up to 2,000 in all."""
    cut = records.filter(pl.col("unlisted_claim_count") > 0)
    claims = of_records(records)
    totals = (
        claims.with_columns(is_cut=pl.col("event_date").is_in(cut["event_date"].implode()))
        .group_by("path")
        .agg(
            pl.col("event_count").sum(),
            pl.col("first").min(),
            pl.col("last").max(),
            pl.col("column_name").drop_nulls().first(),
            unlisted_date_count=cut.height - pl.col("is_cut").sum().cast(pl.Int64),
        )
        .with_columns(
            unlisted_date_count=pl.when(pl.col("column_name").is_null()).then("unlisted_date_count").otherwise(0)
        )
    )
    shown = totals.sort(pl.col("column_name").is_null(), "first", "path").head(_LONGEST_CATALOGUE)
    of_a_date = records["claims"].list.len() + records["unlisted_claim_count"]
    at_least = max([totals.height, *of_a_date.to_list()])
    is_known = pl.col("unlisted_date_count") == 0
    event_count = pl.when(is_known).then("event_count")
    json_types = (
        claims.join(shown, on="path", how="semi")
        .group_by("path")
        .agg(pl.col("types").explode().unique().sort().str.join(",").alias("json_types"))
    )
    found = shown.join(json_types, on="path", how="left").select(
        "path",
        "column_name",
        pl.col("column_name").is_not_null().alias("is_column"),
        "json_types",
        event_count.alias("event_count"),
        (event_count / records["event_count"].sum()).alias("coverage"),
        pl.when(pl.col("first") != NEVER).then(pl.col("first").cast(TIMESTAMP)).alias("first_seen_at"),
        pl.col("last").cast(TIMESTAMP).alias("last_seen_at"),
        "unlisted_date_count",
        pl.lit(at_least - shown.height).alias("unlisted_path_count"),
    )
    return found.sort("path").cast(CLAIMS_CATALOGUE.polars_schema)
