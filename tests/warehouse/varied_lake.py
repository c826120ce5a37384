"""A lake in which, from batch to batch, any column of any source may change, be NULL, and go back again."""

from collections.abc import Iterable
from datetime import timedelta
from random import Random
from typing import Any

import polars as pl

from pipelines.flatten.lake_tables import LAKE_DAYS, LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS, QUARANTINE
from pipelines.home.tables import Table
from pipelines.raw.raw_tables import RAW_EMBEDS, RAW_SWEEPS
from tests.warehouse.lake import START, Lake

PARTITIONS = [*((START + timedelta(days=day)).date().isoformat() for day in range(4)), "unknown"]
EMBEDS = 40

# Models read these as JSON.
_JSON = {
    *("data", "extra", "claims", "payload", "coverage", "failures"),
    *("coverage_by_environment", "clock_ahead_sweeps"),
}
_DOCUMENTS = ['{"user_id": "u"}', '{"user_id": "v", "team": 1}', "[]"]

# What an error row has from its event.
_OF_THE_EVENT = (
    "event_uuid",
    "embed_id",
    "event_type",
    "occurred_at",
    "event_date",
    "environment_name",
    "template_key",
)


class VariedLake:
    """Changes a lake batch by batch; each batch ends with a sweep, as a rule later than all before."""

    def __init__(self, lake: Lake, random: Random) -> None:
        self.lake = lake
        self.random = random
        self.now = START
        self.rows: dict[str, list[dict[str, Any]]] = {partition: [] for partition in PARTITIONS}
        self.bad: dict[str, list[dict[str, Any]]] = {partition: [] for partition in PARTITIONS}
        self.writes = 0

    def batch(self) -> None:
        random = self.random
        self.now += timedelta(hours=random.choice([1, 5, 20, 30]))
        for partition in random.sample(PARTITIONS, random.choice([0, 1, 2])):
            self._change(self.rows[partition], LAKE_EMBED_EVENTS)
            self._change(self.bad[partition], QUARANTINE)
            self._write(partition)
        self._observe(RAW_EMBEDS, {"embed_id": random.randrange(EMBEDS)})
        started_at = self.now if random.random() < 0.9 else self.now - timedelta(days=3)
        sweep = {"sweep_id": f"s{random.randrange(9)}", "started_at": started_at, "is_complete": random.random() < 0.8}
        self._observe(RAW_SWEEPS, sweep)

    def _change(self, rows: list[dict[str, Any]], table: Table) -> None:
        """New rows, rows that are gone, and rows with another value in one column or in several."""
        random = self.random
        for row in rows:
            if random.random() < 0.2:
                chosen = random.sample(table.names, random.choice([1, 1, 4]))
                row |= {name: self._value(table, name) for name in chosen if name != "event_uuid"}
        rows[:] = [row for row in rows if random.random() < 0.95]
        for _ in range(random.randrange(5)):
            self.writes += 1
            row = {name: self._value(table, name) for name in table.names}
            rows.append(row | {"event_uuid": f"e{self.writes}"})

    def _write(self, partition: str) -> None:
        events: list[dict[str, Any]] = [
            row | {"counts": {}, "lake_partition": partition} for row in self.rows[partition]
        ]
        self.lake.write(events, {partition: 0})
        errors = [
            {name: self._value(LAKE_VALIDATION_ERRORS, name) for name in LAKE_VALIDATION_ERRORS.names}
            | {name: event[name] for name in _OF_THE_EVENT}
            | {"column_key": key}
            for event in events
            for key in ("item", "price")[: self.random.randrange(3)]
        ]
        bad = [row | {"event_date": partition} for row in self.bad[partition]]
        self.lake.replace(self.lake.home.lake_validation_errors, partition, _frame(LAKE_VALIDATION_ERRORS, errors))
        self.lake.replace(self.lake.home.quarantine, partition, _frame(QUARANTINE, bad))
        self.lake.days[partition] = {name: self._value(LAKE_DAYS, name) for name in LAKE_DAYS.names} | {
            "event_date": partition
        }

    def _observe(self, table: Table, fixed: dict[str, Any]) -> None:
        rows = [{name: self._value(table, name) for name in table.names} for _ in range(self.random.randrange(3))]
        rows = [row | {key: value for key, value in fixed.items() if n == 0} for n, row in enumerate(rows)]
        folder = self.lake.home.raw_embeds if table is RAW_EMBEDS else self.lake.home.raw_sweeps
        self.writes += 1
        folder.mkdir(parents=True, exist_ok=True)
        required = [row for row in rows if row.get("embed_id" if table is RAW_EMBEDS else "sweep_id") is not None]
        _frame(table, required).write_parquet(folder / f"{self.writes:06}.parquet")

    def _value(self, table: Table, name: str) -> Any:
        random = self.random
        column = next(column for column in table.columns if column.name == name)
        if not column.required and random.random() < 0.2:
            return None
        if name in _JSON:
            return random.choice(_DOCUMENTS)
        if name == "embed_id":
            return random.randrange(EMBEDS)
        if name == "sweep_id":
            return f"s{random.randrange(9)}"
        if isinstance(column.dtype, pl.Datetime):
            return self.now + timedelta(hours=random.choice([-500, -48, -24, -1, 0, 1, 30, 90]))
        if isinstance(column.dtype, pl.Date):
            return START.date() + timedelta(days=random.randrange(4))
        if isinstance(column.dtype, pl.Boolean):
            return random.random() < 0.5
        if isinstance(column.dtype, pl.Int64 | pl.Float64):
            return random.randrange(4)
        return random.choice("abc")


def _frame(table: Table, rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    schema = table.polars_schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
