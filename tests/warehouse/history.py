"""A generated history of a home: batches with late days, resumes, re-deliveries, changed tokens and templates."""

import json
from datetime import datetime, timedelta
from random import Random
from typing import Any

from pipelines.oneschema.vocabulary import FUNNEL_STEPS
from tests.warehouse.lake import START, Lake, event

TYPES = [
    *(step.step for step in FUNNEL_STEPS),
    "sheet_operation_performed",
    "sheet_operation_performed",
    "embed_resumed",
    "embed_closed",
    "odd",
]
DAYS = 14
EMBEDS = 40


def wrongly_dated(random: Random, now: datetime) -> dict[str, Any]:
    """What an event says of its time when that is not plausible; some times become plausible as time passes."""
    ahead = [timedelta(hours=hours) for hours in (24, 25, 30, 60, 100)]
    wrong = [datetime(1970, 1, 1), datetime(2019, 12, 31, 23, 59, 59), datetime(9999, 1, 1)]
    at = random.choice([*(now + by for by in ahead), *wrong])
    return {"occurred_at": at, "event_date": at.date(), "lake_partition": "unknown"}


class History:
    """Lands random batches in a lake; each day of it passes with a sweep, which is not always complete."""

    def __init__(self, lake: Lake, random: Random) -> None:
        self.lake = lake
        self.random = random
        # Of what it draws for this, nothing else depends on.
        self._of_gaps = Random(repr(random.getstate()))
        self.events: dict[str, dict[str, Any]] = {}
        self.merged: dict[str, int] = {}
        self.now = START

    def batch(self) -> None:
        """New events, and old ones said otherwise; then a sweep."""
        random = self.random
        self.now += timedelta(hours=random.choice([1, 7, 26, 80]))
        dirty: set[str] = set()
        for _ in range(random.choice([0, 1, 5, 30])):
            dirty.add(self._add())
        for uuid in random.sample(sorted(self.events), min(len(self.events), random.choice([0, 0, 1, 4]))):
            dirty.add(self._deliver_again(uuid))
        self._write(dirty)
        if random.random() < 0.7:
            self.lake.embeds([self._observation() for _ in range(random.randrange(1, 6))])
        if self._of_gaps.random() < 0.3:
            number = self._of_gaps.randrange(4)
            self.lake.webhook_gap(f"gap-{number}", START + timedelta(hours=number), "disk", 1 + number)
        if random.random() < 0.9:
            self.lake.sweep(
                # Now and then a clock is far ahead.
                self.now if random.random() < 0.95 else datetime(2300, 1, 1) + (self.now - START),
                kind=random.choice(["refresh", "refresh", "reconcile"]),
                is_complete=random.random() < 0.8,
                failed_count=random.choice([0, 0, 3]),
                coverage=f'[{{"event_date": "{START:%Y-%m-%d}", "held_at_source_count": 1, "held_purged_count": 0, '
                f'"unheld_count": {random.randrange(2)}}}]',
                environment_name=self._of_gaps.choice(["Production", None]),
                coverage_by_environment=self._of_gaps.choice([None, self._found(), self._found()]),
                unseen_embed_count=self._of_gaps.choice([None, 0, 0, 2]),
                unseen_from=START,
                unseen_until=START + timedelta(days=self._of_gaps.randrange(3)),
                clock_ahead_sweeps=self._of_gaps.choice([None] * 9 + ['["another"]']),
            )

    def _found(self) -> str:
        """A day of which a reconcile says that it found no more than is held, as a rule."""
        row = self._of_gaps.choice([*self.events.values(), None])
        if row is None:
            return "[]"
        found = {
            "event_date": row["lake_partition"],
            "environment_name": row["environment_name"],
            "source_count": self._of_gaps.choice([0, 1, 1, 1, 99]),
            "unheld_count": self._of_gaps.choice([0, 0, 0, 1]),
        }
        return json.dumps([found])

    def _add(self) -> str:
        random = self.random
        embed_id = random.randrange(EMBEDS)
        # As a rule of the present, now and then of a day long past.
        age = timedelta(minutes=random.choice([0, 5, 60, 600, 3000, 20000]) * random.random())
        row = self.event(f"e{len(self.events)}", embed_id, max(self.now - age, START))
        row["lake_partition"] = random.choice([row["lake_partition"]] * 9 + ["unknown"])
        if random.random() < 0.1:
            row |= wrongly_dated(random, self.now)
        self.events[row["event_uuid"]] = row
        return row["lake_partition"]

    def _deliver_again(self, uuid: str) -> str:
        old = self.events[uuid]
        if self.random.random() < 0.3:
            self.merged[old["lake_partition"]] = self.merged.get(old["lake_partition"], 0) + 1
            return old["lake_partition"]
        moved = old["occurred_at"] + timedelta(minutes=self.random.choice([0, 0, 3, 2000]))
        # A uuid stays in the partition that holds it, whatever its date is now.
        new = self.event(uuid, self.random.choice([old["embed_id"]] * 4 + [1]), moved)
        self.events[uuid] = new | {"lake_partition": old["lake_partition"], "landed_at": old["landed_at"]}
        return old["lake_partition"]

    def event(self, uuid: str, embed_id: int, occurred_at: datetime) -> dict[str, Any]:
        random = self.random
        event_type = random.choice(TYPES)
        counts = None
        if event_type in ("columns_mapped", "import_submitted") and random.random() < 0.9:
            counts = {
                key: {random.choice(["MISSING", "PICKLIST"]): random.choice([0, 1, 9])}
                for key in random.sample(["item", "price", "sku"], random.randrange(3))
            }
        is_unread = random.random() < (0.05 if counts is None else 0.2)
        claims = None
        if random.random() < 0.7:
            claims = {"user_id": random.choice("uvw"), "team": random.choice("xyz")}
            if random.random() < 0.02:
                claims[f"rare_{random.randrange(3)}"] = "1"
        return event(
            uuid,
            embed_id,
            event_type,
            occurred_at,
            counts=counts,
            has_unreadable_error_counts=is_unread,
            claims=claims,
            event_id=random.choice([None, int(uuid[1:])]),
            trigger_type=random.choice(["user", "user", "api", "robot", None]),
            template_key=random.choice(["products", "products", "people", None]),
            environment_name=random.choice(["Production", "Production", None]),
            operation=random.choice(["sum", "split", None]) if event_type.startswith("sheet") else None,
            import_type=random.choice(["webhook", None]) if event_type == "import_submitted" else None,
            landed_at=self.now,
        )

    def _observation(self) -> dict[str, Any]:
        random = self.random
        status = random.choice(["initialized", "uploaded", "import-pending", "imported", "imported", "import_failed"])
        return {
            "embed_id": random.randrange(EMBEDS),
            "status": status,
            "imported_row_count": random.randrange(9) if status == "imported" else None,
            "fetched_at": self.now - timedelta(hours=random.choice([0, 0, 30])),
        }

    def _write(self, dirty: set[str]) -> None:
        for lake_partition in sorted(dirty):
            rows = [row for row in self.events.values() if row["lake_partition"] == lake_partition]
            self.lake.write(rows, {lake_partition: self.random.choice([0, 0, 2])}, self.merged.get(lake_partition, 0))
