"""Who a session belongs to, and how each customer's sessions convert, against slow references from the definition."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipelines.errors import ConfigurationError
from pipelines.oneschema.claim_paths import naming, walk
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from tests.warehouse.answers import published_rows
from tests.warehouse.lake import START, Lake, event

NAMED = {
    "embed_analytics_customer_claim": "org.name",
    "embed_analytics_customer_id_claim": "org.id",
    "embed_analytics_plan_claim": "acme.example/plan",
}
WINDOW = timedelta(days=7)


def options(**named: str | None) -> BuildOptions:
    return BuildOptions(Settings.defaults(**named))


def claimed(claims: dict[str, Any] | None, setting: str | None) -> str | None:
    """The scalar that a setting names: the path as written before the others, these by code point."""
    if claims is None or setting is None:
        return None
    fitting = [(path, value) for path, value in walk(claims) if naming(setting).fullmatch(path)]
    for _, value in sorted(fitting, key=lambda found: (found[0] != setting, found[0])):
        if value is not None and not isinstance(value, dict | list):
            return ("true" if value else "false") if isinstance(value, bool) else str(value)
    return None


# Each way in which a claim can be there, elsewhere, of another case, or not a scalar.
ORGS: list[Any] = [
    {"name": "Acme", "id": 42},
    {"name": "acme", "id": "42"},
    {"name": "Acme"},
    {"Name": "Acme", "ID": 42},
    {"name": {"en": "Acme"}, "id": [42]},
    {"name": None, "id": None},
    {"name": True, "id": 123456789012345678901},
    {"name": "", "id": ""},
    "Acme",
    ["Acme"],
]
REST: list[dict[str, Any]] = [
    {},
    {"acme.example/plan": "gold"},
    {"acme": {"example/plan": "nested"}, "acme.example/plan": "gold"},
    {"org.name": "Flat"},
]


@pytest.mark.parametrize("named", [NAMED, {}, *({name: path} for name, path in NAMED.items())])
def test_the_customer_is_what_the_settings_name_in_the_sessions_claims(lake: Lake, named: dict[str, str]) -> None:
    every = [{"org": org, **rest} for org, rest in product(ORGS, REST)] + [*REST, None]
    lake.write(
        # The lake has no column for any of these claims.
        event(f"e{n}", n, "embed_initialized", START) | {"claims": None if claims is None else json.dumps(claims)}
        for n, claims in enumerate(every)
    )
    build(lake.home, options(**named))

    def of(claims: dict[str, Any] | None) -> dict[str, str | None]:
        name, customer_id, plan = (claimed(claims, named.get(setting)) for setting in NAMED)
        return {
            "customer_id": name if customer_id is None else customer_id, "customer_name": name, "plan": plan,
        }  # fmt: skip

    expected = [{"embed_id": n} | of(claims) for n, claims in enumerate(every)]
    for table in ("fct_embeds", "rpt_embed_timeline"):
        asked = f"select embed_id, customer_id, customer_name, plan from {table} order by 1"
        assert published_rows(lake.home, asked) == expected


def test_a_claim_beyond_the_limit_of_columns_is_read_and_every_table_says_the_same(lake: Lake) -> None:
    claims = {"user_id": "u", "org": {"name": "Acme", "id": "7", "plan": "gold"}}
    lake.write(
        [
            event("a", 1, "embed_initialized", START, claims=claims),
            event("b", 1, "columns_mapped", START, counts={"item": {"MISSING": 3}}),
            event("c", 1, "file_uploaded", START + timedelta(minutes=1)),
        ]
    )
    lake.sweep(START + timedelta(hours=3))
    build(lake.home, options(**NAMED | {"embed_analytics_plan_claim": "org.plan"}))
    # The lake has no column for any of them.
    assert not [name for name in published_rows(lake.home, "from fct_embeds")[0] if name.startswith("claim_org")]
    for table in ("fct_embeds", "rpt_embed_timeline", "rpt_stuck_embeds", "fct_embed_validation_errors"):
        told = published_rows(lake.home, f"select distinct customer_id, customer_name, plan from {table}")
        assert told == [{"customer_id": "7", "customer_name": "Acme", "plan": "gold"}], table


def test_a_path_with_too_many_plain_dots_is_refused_by_name(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match=r"EMBED_ANALYTICS_PLAN_CLAIM: .* backslash"):
        build(lake.home, options(embed_analytics_plan_claim=".".join("abcdefgh")))


@pytest.mark.slow
def test_another_setting_reaches_the_sessions_that_are_built_already(
    new_lake: Callable[[Path], Lake], tmp_path: Path
) -> None:
    lake = new_lake(tmp_path / "home")
    lake.write([event("a", 1, "embed_initialized", START, claims={"org": {"name": "Acme"}, "plan": "gold"})])
    build(lake.home, options())
    assert not build(lake.home, options(**NAMED)).is_full
    assert published_rows(lake.home, "select customer_name, customer_id, plan from rpt_customers") == [
        {"customer_name": "Acme", "customer_id": "Acme", "plan": None}
    ]


@pytest.mark.slow
def test_a_breakdown_by_a_claim_of_a_columns_name_is_the_claim_until_a_setting_fills_the_column(lake: Lake) -> None:
    claims = {"user_id": "u", "plan": "claim", "org": {"plan": "setting"}}
    lake.write([event("a", 1, "embed_initialized", START, claims=claims)])
    for setting, breakdown in ((None, "claim"), ("org.plan", "setting")):
        build(lake.home, options(embed_analytics_plan_claim=setting))
        assert published_rows(lake.home, "select distinct breakdown from funnel(by := 'plan')") == [
            {"breakdown": breakdown}
        ]
        # A column without a claim of its name is not a mistake.
        assert published_rows(lake.home, "select distinct breakdown from funnel(by := 'customer_id')") == [
            {"breakdown": None}
        ]


def sessions(random: Random, lake: Lake, days: int, count: int) -> datetime:
    """Sessions of a few customers over some days, and the sweep after them."""
    events: list[dict[str, Any]] = []
    for embed_id in range(count):
        # Many in the last hours: they may be open, and stuck.
        begun = START + timedelta(days=days * random.choice([random.random(), 1])) - timedelta(hours=random.random())
        name = random.choice(["Acme", "Bolt", None])
        claims: dict[str, Any] = {"user_id": "u", "org": {"name": name, "id": name and random.choice([name, "9"])}}
        fields: dict[str, Any] = {
            "template_key": random.choice(["products", "people", None]),
            "claims": random.choice([claims, claims, claims, None]),
        }
        types = ["embed_initialized", "file_uploaded", "import_submitted"][: random.randrange(1, 4)]
        events += [
            event(f"{embed_id}-{n}", embed_id, event_type, begun + timedelta(minutes=n), **fields)
            for n, event_type in enumerate(types)
        ]
    lake.write(events)
    statuses = ["imported", "import_failed", "uploaded"]
    lake.embeds(
        {"embed_id": n, "status": random.choice(statuses), "fetched_at": START + timedelta(days=days)}
        for n in range(0, count, 2)
    )
    now = START + timedelta(days=days, hours=random.randrange(6))
    lake.sweep(now)
    return now


def customers(embeds: Iterable[dict[str, Any]], stuck: set[int], now: datetime) -> dict[Any, dict[str, Any]]:
    """rpt_customers without its intervals, from the definition: one session and one day at a time."""
    mature = [day for day in (date(2026, 1, 1) + timedelta(days=n) for n in range(500)) if _is_mature(day, now)]
    windows = {
        "14d": mature[-14:], "previous_14d": mature[-28:-14], "28d": mature[-28:], "previous_28d": mature[-56:-28],
    }  # fmt: skip
    found: defaultdict[Any, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for embed in embeds:
        row = found[embed["customer_id"], embed["template_key"]]
        is_submitted = embed["outcome"] == "submitted"
        row["session_count"] += 1
        row["submitted_count"] += is_submitted
        row["delivered_count"] += embed["delivery"] == "imported"
        row["open_count"] += embed["outcome"] == "open"
        row["stuck_count"] += embed["embed_id"] in stuck
        row["immature_count"] += not _is_mature(embed["entry_date"], now)
        row["last_seen_at"] = max(row["last_seen_at"] or datetime.min, embed["last_event_at"])
        for window, days in windows.items():
            row[f"entered_count_{window}"] += embed["entry_date"] in days
            row[f"submitted_count_{window}"] += embed["entry_date"] in days and is_submitted
    for row in found.values():
        for window in windows:
            entered, submitted = row[f"entered_count_{window}"], row[f"submitted_count_{window}"]
            row[f"conversion_rate_{window}"] = submitted / entered if entered else None
    return {key: dict(row) for key, row in found.items()}


def _is_mature(day: date, now: datetime) -> bool:
    return datetime.combine(day, datetime.min.time()) + timedelta(days=1) + WINDOW <= now


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_customers_are_counted_over_mature_days(lake: Lake, seed: int) -> None:
    random = Random(seed)
    now = sessions(random, lake, days=random.choice([20, 70]), count=300)
    build(lake.home, options(**NAMED))
    embeds = published_rows(lake.home, "from fct_embeds")
    stuck = {row["embed_id"] for row in published_rows(lake.home, "from rpt_stuck_embeds")}
    expected = customers(embeds, stuck, now)
    found = {(row["customer_id"], row["template_key"]): row for row in published_rows(lake.home, "from rpt_customers")}
    assert {key: {name: row[name] for name in expected[key]} for key, row in found.items()} == expected
    assert any(row["stuck_count"] for row in expected.values())
    assert any(row["delivered_count"] for row in expected.values())
    assert any(row["immature_count"] for row in expected.values())


def test_customers_without_a_sweep_or_a_setting_are_counted_and_have_no_rates(lake: Lake) -> None:
    lake.write(event(f"{n}", n, "embed_initialized", START, claims={"org": {"name": "Acme"}}) for n in range(3))
    build(lake.home, options())
    (row,) = published_rows(lake.home, "from rpt_customers")
    assert (row["customer_id"], row["customer_name"], row["plan"], row["session_count"]) == (None, None, None, 3)
    assert (row["entered_count_14d"], row["conversion_rate_14d"], row["immature_count"]) == (0, None, 3)


def test_a_customers_name_and_plan_are_those_of_the_latest_session(lake: Lake) -> None:
    names = [("Old", "free", 0), ("New", "gold", 2), (None, None, 3), ("Older", "free", 1)]
    lake.write(
        event(
            f"{n}",
            n,
            "embed_initialized",
            START + timedelta(days=day),
            claims={"org": {"id": 1, "name": name}, "plan": plan},
        )
        for n, (name, plan, day) in enumerate(names)
    )
    build(lake.home, options(**NAMED | {"embed_analytics_plan_claim": "plan"}))
    (row,) = published_rows(lake.home, "from rpt_customers")
    assert (row["customer_id"], row["customer_name"], row["plan"]) == ("1", "New", "gold")
