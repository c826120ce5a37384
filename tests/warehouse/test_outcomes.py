"""The views of errors, times and repairs against a slow reference, and against what the macros answer."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.home.layout import Home
from pipelines.warehouse import sources
from pipelines.warehouse.build import build
from tests.proving import examples
from tests.warehouse.answers import published_rows
from tests.warehouse.history import wrongly_dated
from tests.warehouse.lake import START, Lake, event
from tests.warehouse.metrics_oracle import ALL, STEPS
from tests.warehouse.outcomes_oracle import (
    DIMENSIONS,
    OPERATION,
    Outcome,
    Reached,
    Sessions,
    by_choice,
    error_outcomes,
    of_each_choice,
    repairs,
    step_times,
)
from tests.warehouse.test_metrics import NAMED, WINDOW, options

TOGETHER = "is_all_environments and is_all_templates and is_all_plans"
FLAGS = ("is_all_environments", "is_all_templates", "is_all_plans")
NOW = START + timedelta(days=40)
PAIRS = [("sku", "MISSING"), ("sku", "PICKLIST"), ("price", "MISSING"), ("item", "PICKLIST")]


def odd_sessions(random: Random) -> Iterator[dict[str, Any]]:
    """Events of sessions that do anything in any order, now and then without a beginning or a plausible time."""
    # Where many plans are seen on a day, nothing is told by plan.
    plan_count, day_count = random.choice([(3, 39), (3, 39), (200, 5)])
    for embed_id in range(300):
        begun = START + timedelta(days=39 - day_count * random.random())
        plan = random.choice([None, *map(str, range(plan_count))])
        fields: dict[str, Any] = {
            "template_key": random.choice(["products", "products", "people", None]),
            "environment_name": random.choice(["Production", "Production", None]),
            "claims": {"user_id": plan} if plan is not None and random.random() < 0.9 else None,
        }
        flaws = random.sample(PAIRS, random.choice([0, 1, 2, 3]))
        types = [*STEPS[: random.choice([1, 2, 3, 4, 5, 5])], *random.choices([*STEPS, OPERATION, OPERATION], k=2)]
        if random.random() < 0.2:
            random.shuffle(types)
        moment = begun
        for number, event_type in enumerate(types):
            moment += timedelta(
                seconds=random.choice([0, 3, 10, 50, 800, 9_000, 100_000]) * random.choice([1, random.random()])
            )
            counts = None
            if random.random() < {"columns_mapped": 0.9, "import_submitted": 0.1}.get(event_type, 0):
                counts = {column: {code: random.choice([0, 2, 2])} for column, code in flaws}
            row = event(
                f"{embed_id}-{number}",
                embed_id,
                event_type,
                moment,
                counts=counts,
                has_unreadable_error_counts=counts is not None and random.random() < 0.1,
                operation=random.choice(["sum", "split", None]) if event_type == OPERATION else None,
                trigger_type=random.choice(["user", "user", "api", None]),
                **fields,
            )
            yield row | (wrongly_dated(random, NOW) if random.random() < 0.03 else {})


def sessions_of(lake: Lake) -> Sessions:
    errors: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    events: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in published_rows(lake.home, "from fct_embed_validation_errors"):
        errors[row["embed_id"]].append(row)
    plausible = (
        "occurred_at between (select plausible_from from meta_build) and (select plausible_until from meta_build)"
    )
    for row in published_rows(lake.home, f"from stg_embed_events where {plausible}"):
        events[row["embed_id"]].append(row)
    return Sessions(published_rows(lake.home, "from fct_embeds"), errors, events)


def choice(row: dict[str, Any]) -> tuple[object, ...]:
    return tuple(ALL if row[flag] else row[name] for flag, name in zip(FLAGS, DIMENSIONS, strict=True))


def close(value: Any) -> Any:
    return None if value is None else pytest.approx(float(value), rel=1e-9, abs=1e-12)


def close_all(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(map(close, values))


def told(lake: Lake, view: str, key: Callable[[dict[str, Any]], Any], of: Callable[[dict[str, Any]], Any]) -> Any:
    """What a view says, by choice and key. No two rows have the same."""
    found = published_rows(lake.home, f"from {view}")
    by_key = {(choice(row), key(row)): of(row) for row in found}
    assert len(by_key) == len(found)
    return by_key


def quantiles_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(tuple(row[f"{name}_seconds{end}"] for end in ("", "_low", "_high")) for name in ("p50", "p75", "p90"))


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(3), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), has_plan=st.booleans())
def test_every_row_is_what_its_definition_counts(
    new_lake: Callable[[Path], Lake], tmp_path_factory: pytest.TempPathFactory, seed: int, *, has_plan: bool
) -> None:
    named = NAMED if has_plan else NAMED | {"embed_analytics_plan_claim": None}
    lake = new_lake(tmp_path_factory.mktemp("world") / "home")
    lake.write(odd_sessions(Random(seed)))
    lake.sweep(NOW)
    build(lake.home, options(**named))
    sessions = sessions_of(lake)
    choices = by_choice(sessions, NOW, WINDOW, has_plan=has_plan)

    outcomes = of_each_choice(choices, lambda embeds: error_outcomes(sessions, embeds))
    assert told(
        lake,
        "rpt_error_outcomes",
        lambda row: (row["column_key"], row["error_code"]),
        lambda row: Outcome._make(
            [*(row[name] for name in Outcome._fields[:-1]), (row["odds_ratio_low"], row["odds_ratio_high"])]
        ),
    ) == {
        key: outcome._replace(odds_ratio=close(outcome.odds_ratio), odds_ratio_interval=close_all(outcome[-1]))
        for key, outcome in outcomes.items()
    }

    reached = of_each_choice(choices, lambda embeds: step_times(sessions, embeds, WINDOW))
    assert told(
        lake,
        "rpt_step_times",
        lambda row: (row["step"], row["within_seconds"]),
        lambda row: Reached._make([*(row[name] for name in Reached._fields[:-1]), quantiles_of(row)]),
    ) == {key: each._replace(quantiles=tuple(map(close_all, each.quantiles))) for key, each in reached.items()}

    together = of_each_choice(choices, lambda embeds: repairs(sessions, embeds))
    assert (
        told(
            lake,
            "rpt_repairs",
            lambda row: (row["error_code"], row["has_operation"], row["operation"]),
            lambda row: (row["session_count"], row["submitted_count"]),
        )
        == together
    )


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """400 sessions of three templates whose errors are counted when they map, as the vendor documents it."""
    random = Random(7)
    lake = Lake(Home(tmp_path_factory.mktemp("busy") / "home"))
    lake.home.root.mkdir(mode=0o700)
    events: list[dict[str, Any]] = []
    for embed_id in range(400):
        moment = START + timedelta(days=random.random() * 20)
        template = random.choice(["products", "people", None])
        done = ["embed_initialized", "file_uploaded", "columns_mapped", "import_submitted"]
        counts = {
            column: {code: 1}
            for column, code in (("sku", "MISSING"), ("price", "INVALID"), ("item", "PICKLIST"))
            if random.random() < 0.4
        }
        # Fewer submit with an error, and in one template.
        chance = 0.85 - 0.2 * len(counts) - 0.2 * (template == "people")
        reached = 4 if random.random() < chance else random.choice([1, 2, 3, 3])
        for number, step in enumerate(done[:reached]):
            is_mapping = step == "columns_mapped"
            if is_mapping and random.random() < 0.1:
                continue
            events.append(
                event(
                    f"{embed_id}-{number}", embed_id, step, moment, template_key=template,
                    counts=counts if is_mapping else None,
                    has_unreadable_error_counts=is_mapping and random.random() < 0.1,
                )
            )  # fmt: skip
            moment += timedelta(seconds=random.choice([0, 20, 200, 4000, 90_000]) * random.random())
    lake.write(events)
    lake.sweep(START + timedelta(days=30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_catalogues", lake.catalogues)
        build(lake.home, options())
    return lake


def dates_of(lake: Lake) -> str:
    """The last 28 mature days, as macros take them."""
    sessions = f"from rpt_metrics where metric = 'sessions' and period = 'last_28_days' and {TOGETHER}"
    (row,) = published_rows(lake.home, sessions)
    return f"from_date := '{row['period_start']}', to_date := '{row['period_end']}'"


def test_the_odds_ratio_is_that_of_drivers(busy: Lake) -> None:
    dates = dates_of(busy)
    asked = f"from drivers(at_step := 'columns_mapped', min_count := 1, {dates}) where kind = 'error'"
    drivers = published_rows(busy.home, asked)
    outcomes = published_rows(busy.home, f"from rpt_error_outcomes where {TOGETHER}")
    assert len(outcomes) == 3
    assert {(row["factor"], row["value"]): row["exposed_count"] for row in drivers} == {
        (row["column_key"], row["error_code"]): row["session_count"] for row in outcomes
    }
    by_pair = {(row["factor"], row["value"]): row for row in drivers}
    for row in outcomes:
        driver = by_pair[row["column_key"], row["error_code"]]
        assert row["unsubmitted_count"] == driver["exposed_count"] - driver["exposed_converted_count"]
        assert row["other_session_count"] == driver["unexposed_count"]
        for name in ("odds_ratio", "odds_ratio_low", "odds_ratio_high"):
            assert row[name] == pytest.approx(driver[name], rel=1e-12)
        # Held within templates, it is not the one of all sessions together.
        crude = (row["session_count"] - row["unsubmitted_count"]) / row["unsubmitted_count"]
        crude /= (row["other_session_count"] - row["other_unsubmitted_count"]) / row["other_unsubmitted_count"]
        assert row["odds_ratio"] != pytest.approx(crude, rel=1e-6)


def test_with_without_and_unknown_are_all_that_reached_the_mapping(busy: Lake) -> None:
    reached = published_rows(
        busy.home,
        "select template_key, numerator from rpt_metrics where metric = 'reached' and step = 'columns_mapped' "
        "and period = 'last_28_days' and is_all_customers",
    )
    counts = {(row["template_key"], row["numerator"]) for row in reached}
    outcomes = published_rows(busy.home, "from rpt_error_outcomes")
    assert any(row["unknown_count"] for row in outcomes)
    for row in outcomes:
        total = row["session_count"] + row["other_session_count"] + row["unknown_count"]
        assert (row["template_key"], total) in counts


def test_the_incidence_is_that_of_time_to(busy: Lake) -> None:
    dates = dates_of(busy)
    for step in STEPS[1:]:
        curve = published_rows(busy.home, f"from time_to(step := '{step}', by := 'template_key', {dates})")
        asked = f"from rpt_step_times where step = '{step}' and is_all_environments and is_all_plans"
        found = published_rows(busy.home, f"{asked} and not is_all_templates order by within_seconds")
        assert {row["template_key"] for row in found} == {row["breakdown"] for row in curve}
        for row in found:
            mine = [each for each in curve if each["breakdown"] == row["template_key"]]
            before = [each["incidence"] for each in mine if each["t"] <= row["within_seconds"]]
            assert row["reached_rate"] == pytest.approx(max(before, default=0), rel=1e-9)
            assert row["entered_count"] == mine[0]["entered_count"]
        assert found[-1]["reached_rate"] > 0


def test_pairs_are_numbered_by_their_sessions(busy: Lake) -> None:
    for view in ("rpt_error_outcomes", "rpt_repairs"):
        found = published_rows(busy.home, f"from {view} where {TOGETHER} order by pair_number")
        assert [row["pair_number"] for row in found] == [*range(1, len(found) + 1)]
        counts = [row["session_count"] for row in found]
        assert counts == sorted(counts, reverse=True)
        assert {row["pair_count"] for row in found} == {len(found)}
