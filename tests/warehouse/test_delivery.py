"""What became of an import, against the definition, over generated sessions whose status comes late, early or never."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import duckdb
import pytest

from pipelines.oneschema.vocabulary import FUNNEL_STEPS
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildReport
from pipelines.warehouse.published import connect_published
from tests.warehouse.lake import START, Lake, at, event

# The vendor's words for a status, in both spellings, one that nobody has seen before, and none.
DELIVERIES = {
    "initialized": None, "uploaded": None, "headers_set": None, "columns_mapped": None,
    "import_pending": "pending", "import-pending": "pending", "imported": "imported", "import_failed": "failed",
    "odd": None, None: None,
}  # fmt: skip

Answers = dict[int, list[tuple[datetime, str | None]]]


@pytest.fixture
def built(lake: Lake) -> Callable[[], duckdb.DuckDBPyConnection]:
    def make() -> duckdb.DuckDBPyConnection:
        build(lake.home, BuildOptions(Settings.defaults()))
        return connect_published(lake.home)

    return make


def sessions(random: Random, count: int) -> tuple[list[dict[str, Any]], Answers]:
    """Events, and what the list answered of each session: often never, often before the import, often after it."""
    events: list[dict[str, Any]] = []
    answers: Answers = {}
    for embed_id in range(count):
        begun = at(random.randrange(3 * 24 * 60))
        submitted = [begun + timedelta(minutes=random.randrange(60)) for _ in range(random.choice([0, 0, 1, 1, 1, 2]))]
        times = [("embed_initialized", begun), *(("import_submitted", moment) for moment in submitted)]
        if submitted and random.random() < 0.1:
            # Its time is not plausible: it was not submitted at any time that is known.
            times = [*times[:1], ("import_submitted", datetime(2019, 1, 1))]
        template = random.choice(["products", "people"])
        events += [
            event(f"{embed_id}-{n}", embed_id, kind, moment, template_key=template)
            for n, (kind, moment) in enumerate(times)
        ]
        moments = [
            begun,
            *submitted,
            *(moment + timedelta(microseconds=off) for moment in submitted for off in (-1, 1)),
        ]
        chosen = random.sample(moments, min(len(moments), random.choice([0, 1, 1, 2])))
        answers[embed_id] = [(moment, random.choice(list(DELIVERIES))) for moment in chosen]
    return events, answers


def delivered(events: list[dict[str, Any]], answers: list[tuple[datetime, str | None]]) -> tuple[Any, Any]:
    """(delivery, delivery_at) of one session, from the definition."""
    if not answers:
        return None, None
    fetched_at, status = max(answers, key=lambda answer: answer[0])
    submitted = [
        row["occurred_at"]
        for row in events
        if row["event_type"] == "import_submitted" and row["occurred_at"] >= datetime(2020, 1, 1)
    ]
    delivery = DELIVERIES[status]
    if delivery is None or (submitted and fetched_at < min(submitted)):
        return None, None
    return delivery, fetched_at


@pytest.mark.parametrize("seed", range(3))
def test_delivery_is_the_newest_status_if_it_is_not_older_than_the_submission(
    lake: Lake, built: Callable[[], duckdb.DuckDBPyConnection], seed: int
) -> None:
    random = Random(seed)
    events, answers = sessions(random, 300)
    lake.write(events)
    told = [(embed_id, *answer) for embed_id in answers for answer in answers[embed_id]]
    random.shuffle(told)
    lake.embeds({"embed_id": n, "fetched_at": moment, "status": status} for n, moment, status in told)
    lake.sweep(START + timedelta(days=30))
    mine: dict[int, list[dict[str, Any]]] = {}
    for row in events:
        mine.setdefault(row["embed_id"], []).append(row)
    expected = {embed_id: delivered(mine[embed_id], answers[embed_id]) for embed_id in mine}
    assert {delivery for delivery, _ in expected.values()} == {None, "pending", "imported", "failed"}

    with built() as connection:
        found = connection.execute("select embed_id, delivery, delivery_at from fct_embeds").fetchall()
        assert {embed_id: (delivery, moment) for embed_id, delivery, moment in found} == expected
        statuses = connection.execute("select distinct status from stg_embeds").fetchall()
        assert ("import_pending",) in statuses
        assert ("import-pending",) not in statuses

        # The funnel's counts, one session after the other.
        submitted = {embed_id for embed_id, *_ in _rows(connection, "embed_id", "fct_embeds", "outcome = 'submitted'")}
        counts: Counter[Any] = Counter()
        cohort_of = {row[0]: row[1:] for row in _rows(connection, "embed_id, entry_date, template_key", "fct_embeds")}
        for embed_id, (delivery, _) in expected.items():
            cohort = cohort_of[embed_id]
            counts[cohort, "delivered_count"] += delivery == "imported"
            if embed_id in submitted:
                counts[cohort, "delivery_known_count"] += delivery is not None
                counts[cohort, "submitted_delivered_count"] += delivery == "imported"
        assert sum(counts[cohort, "delivered_count"] for cohort in {*cohort_of.values()}) > sum(
            counts[cohort, "submitted_delivered_count"] for cohort in {*cohort_of.values()}
        )
        names = ("delivered_count", "delivery_known_count", "submitted_delivered_count", "delivery_rate")
        rows = _rows(connection, f"entry_date, template_key, {', '.join(names)}", "fct_embed_funnel_daily")
        assert len(rows) == len(FUNNEL_STEPS) * len({*cohort_of.values()})
        for *cohort, delivered_count, known, numerator, rate in rows:
            key = tuple(cohort)
            assert (delivered_count, known, numerator) == tuple(counts[key, name] for name in names[:3])
            assert rate == (numerator / known if known else None)


def _rows(connection: duckdb.DuckDBPyConnection, columns: str, table: str, condition: str = "true") -> list[Any]:
    return connection.execute(f"select {columns} from {table} where {condition}").fetchall()


@pytest.mark.slow
def test_a_status_that_was_never_seen_before_is_a_warning(lake: Lake) -> None:
    def warned(report: BuildReport) -> list[dict[str, Any]]:
        (check,) = [check for check in report.checks if check.name == "embed_statuses_known"]
        assert check.severity == "warn"
        return check.sample

    options = BuildOptions(Settings.defaults())
    lake.embeds({"embed_id": n, "status": status} for n, status in enumerate(DELIVERIES) if status != "odd")
    assert warned(build(lake.home, options)) == []
    lake.embeds([{"embed_id": 99, "status": "odd"}])
    (row,) = warned(build(lake.home, options))
    assert (row["status"], row["embed_count"]) == ("odd", 1)


@pytest.mark.slow
def test_an_answer_that_says_the_same_later_moves_the_delivery(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0)), event("b", 1, "import_submitted", at(10))])
    lake.embeds([{"embed_id": 1, "status": "imported", "imported_row_count": 7, "fetched_at": at(5)}])
    options = BuildOptions(Settings.defaults())
    build(lake.home, options)
    for minutes, expected in ((20, ("imported", at(20))), (30, ("imported", at(30)))):
        # Say because the token's payload has changed: the status and the number of rows are what they were.
        lake.embeds([{"embed_id": 1, "status": "imported", "imported_row_count": 7, "fetched_at": at(minutes)}])
        assert not build(lake.home, options).is_full
        with connect_published(lake.home) as connection:
            assert connection.execute("select delivery, delivery_at from fct_embeds").fetchone() == expected
            assert connection.execute("select distinct delivered_count from fct_embed_funnel_daily").fetchall() == [
                (1,)
            ]
