"""A home with a lake written by hand, so that the warehouse is tested without the layers before it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.flatten.lake_tables import (
    CLAIMS_CATALOGUE,
    LAKE_DAYS,
    LAKE_EMBED_EVENTS,
    LAKE_VALIDATION_ERRORS,
    QUARANTINE,
)
from pipelines.home.layout import Home, lake_folder, partition_folder
from pipelines.home.tables import Table
from pipelines.raw.raw_tables import RAW_EMBEDS, RAW_SWEEPS
from pipelines.raw.webhook_gaps import RAW_WEBHOOK_GAPS

START = datetime(2026, 3, 2, 9)


def at(minutes: float) -> datetime:
    """A time so many minutes after START."""
    return START + timedelta(minutes=minutes)


def event(
    uuid: str,
    embed_id: int,
    event_type: str,
    occurred_at: datetime,
    *,
    counts: Mapping[str, Mapping[str, int]] | None = None,
    claims: Mapping[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A lake event with plain defaults. `counts` are its validation error counts; scalar claims become columns."""
    row: dict[str, Any] = {
        "event_uuid": uuid,
        "event_id": None,
        "embed_id": embed_id,
        "event_type": event_type,
        "trigger_type": "user",
        "occurred_at": occurred_at,
        "event_date": occurred_at.date(),
        "environment_name": "Production",
        "template_key": "products",
        "operation": None,
        "import_type": None,
        "has_snapshot": False,
        "has_error_counts": counts is not None,
        "has_unreadable_error_counts": False,
        "data": None,
        "extra": None,
        "source": "api",
        "landed_at": occurred_at,
        "jwt_status": "unverified" if claims is not None else "missing",
        "claims": None if claims is None else json.dumps(claims),
        "counts": counts or {},
        "lake_partition": occurred_at.date().isoformat(),
    }
    row["claim_user_id"] = None if claims is None else claims.get("user_id")
    for name, value in (claims or {}).items():
        if isinstance(value, str):
            row[f"claim_{name}"] = value
    return row | fields


@dataclass
class Lake:
    """Writes a home's lake, raw and catalogues, and returns the frames that flattening would."""

    home: Home
    deliveries: dict[str, int] = field(default_factory=dict[str, int])
    days: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    claims: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    writes: int = 0

    def write(
        self, events: Iterable[Mapping[str, Any]], quarantine: Mapping[str, int] | None = None, merged: int = 0
    ) -> None:
        """Replace the partitions that these events name by exactly them."""
        by_partition: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in events:
            by_partition[row["lake_partition"]].append(row)
        for lake_partition in {*by_partition, *(quarantine or {})}:
            self._write_lake_partition(
                lake_partition, by_partition[lake_partition], (quarantine or {}).get(lake_partition, 0), merged
            )

    def _write_lake_partition(
        self, lake_partition: str, events: list[Mapping[str, Any]], quarantined: int, merged: int
    ) -> None:
        rows = sorted(events, key=lambda row: (row["embed_id"], row["occurred_at"]))
        claims = sorted({name for row in rows for name in row if name.startswith("claim_")} | {"claim_user_id"})
        schema = LAKE_EMBED_EVENTS.polars_schema | {name: pl.String() for name in claims}
        errors = [
            {
                **{name: row.get(name) for name in LAKE_VALIDATION_ERRORS.names},
                "column_key": key,
                "error_code": code,
                "error_count": count,
            }
            for row in rows
            for key, codes in row["counts"].items()
            for code, count in codes.items()
        ]
        bad = [
            {
                "event_date": lake_partition,
                "level": "event",
                "field": "uuid",
                "reason": "missing",
                "payload": "{}",
                "fetched_at": START,
                "digest": str(number),
            }
            for number in range(quarantined)
        ]
        self.replace(self.home.lake_validation_errors, lake_partition, frame(LAKE_VALIDATION_ERRORS, errors))
        self.replace(self.home.quarantine, lake_partition, frame(QUARANTINE, bad))
        self.replace(
            self.home.lake_embed_events,
            lake_partition,
            pl.DataFrame([{c: r.get(c) for c in schema} for r in rows], schema=schema),
        )
        deliveries = pl.DataFrame(
            {"event_uuid": [row["event_uuid"] for row in rows] + [""] * (quarantined + merged)},
            schema={"event_uuid": pl.String},
        )
        self.replace(self.home.raw_embed_events, lake_partition, deliveries)
        landed = [row["landed_at"] for row in rows]
        self.days[lake_partition] = {
            "event_date": lake_partition,
            "delivery_count": len(rows) + quarantined + merged,
            "event_count": len(rows),
            "merged_count": merged,
            "quarantined_count": quarantined,
            "field_quarantined_count": 0,
            "conflict_count": 0,
            "validation_error_count": len(errors),
            "unlisted_claim_count": 0,
            "encrypted_count": 0,
            "missing_key_count": 0,
            "first_landed_at": min(landed, default=None),
            "last_landed_at": max(landed, default=None),
        }
        seen = Counter(name for row in rows for name in row if name.startswith("claim_"))
        known = {claim["column_name"] for claim in self.claims}
        for name in seen.keys() - known:
            path = name.removeprefix("claim_")
            self.claims.append(
                {
                    "path": path,
                    "column_name": name,
                    "is_column": True,
                    "json_types": "string",
                    "event_count": 1,
                    "coverage": 1.0,
                    "first_seen_at": START,
                    "last_seen_at": START,
                    "unlisted_date_count": 0,
                    "unlisted_path_count": 0,
                }
            )

    def replace(self, table: Path, lake_partition: str, rows: pl.DataFrame) -> None:
        """Replace a partition of a table by these rows."""
        if table.parent == self.home.lake:
            self._replace(lake_folder(table, lake_partition) / "data.parquet", rows.drop("event_date"))
        else:
            self._replace(partition_folder(table, lake_partition) / "data.parquet", rows)

    def _replace(self, path: Path, rows: pl.DataFrame) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".tmp-" + path.name)
        rows.write_parquet(temporary)
        temporary.replace(path)

    def sweep(self, started_at: datetime, *, kind: str = "refresh", is_complete: bool = True, **fields: Any) -> None:
        """One more sweep."""
        self.writes += 1
        row = {
            "sweep_id": f"{started_at:%Y%m%dT%H%M%S}-{self.writes}",
            "kind": kind,
            "started_at": started_at,
            "finished_at": started_at + timedelta(minutes=1),
            "is_complete": is_complete,
            "failed_count": 0,
        } | fields
        self._replace(self.home.raw_sweeps / f"{self.writes:06}.parquet", frame(RAW_SWEEPS, [row]))

    def webhook_gap(self, gap_id: str, began_at: datetime, reason: str, refused_count: int | None) -> None:
        """A gap of webhooks, which may be told more than once."""
        self.writes += 1
        row = {"gap_id": gap_id, "began_at": began_at, "reason": reason, "refused_count": refused_count}
        self._replace(self.home.raw_webhook_gaps / f"{self.writes:06}.parquet", frame(RAW_WEBHOOK_GAPS, [row]))

    def embeds(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """More observations of embeds."""
        self.writes += 1
        defaults = {"template_key": "products", "fetched_at": START, "sweep_id": str(self.writes)}
        self._replace(
            self.home.raw_embeds / f"{self.writes:06}.parquet",
            frame(RAW_EMBEDS, [defaults | dict(row) for row in rows]),
        )

    def catalogues(self, home: Home) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What flattening would say of the lake's partitions, and of the claims."""
        assert home == self.home
        return frame(LAKE_DAYS, list(self.days.values())), frame(CLAIMS_CATALOGUE, self.claims)


def frame(table: Table, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows in a table's schema; what a row does not name is NULL."""
    return pl.DataFrame([{name: row.get(name) for name in table.names} for row in rows], schema=table.polars_schema)


def utc_now() -> datetime:
    """The clock, as naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)
