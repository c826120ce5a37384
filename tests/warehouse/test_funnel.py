"""funnel() against its brute-force oracle, and what it refuses."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.oneschema.claim_paths import walk
from pipelines.oneschema.json_text import Json
from pipelines.oneschema.vocabulary import FUNNEL_STEPS
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.proving import examples
from tests.warehouse.answers import rows_of
from tests.warehouse.funnel_oracle import Asked, Event, Session, funnel_rows, seconds_of_steps, units_of
from tests.warehouse.lake import START, Lake, event

SESSIONS = 120
DEFAULT = [step.step for step in FUNNEL_STEPS]
OPTIONAL = ["header_selected", "columns_mapped"]
WINDOW = timedelta(minutes=6)
OPTIONS = BuildOptions(Settings.defaults(embed_analytics_funnel_window_days=WINDOW / timedelta(days=1)), "test")
STEPS = [
    None,
    ["embed_initialized", "file_uploaded", "import_submitted"],
    ["file_uploaded", "columns_mapped", "file_uploaded"],
    ["columns_mapped", "columns_mapped"],
    ["file_uploaded", "columns_mapped", "sheet_operation_performed", "columns_mapped", "import_submitted"],
    ["file_uploaded", "sheet_operation_performed:sum", "sheet_operation_performed", "columns_mapped"],
    ["sheet_operation_performed:sum", "sheet_operation_performed", "import_submitted"],
    ["sheet_operation_performed", "sheet_operation_performed:sum", "sheet_operation_performed:a:b"],
    ["embed_closed"],
    ["embed_resumed", "file_uploaded"],
    # More steps than the short way looks at.
    ["file_uploaded", *["sheet_operation_performed", "columns_mapped"] * 4],
    [*DEFAULT[:4], "sheet_operation_performed:sum", "sheet_operation_performed:a:b", "embed_closed", *DEFAULT[3:]],
]
OPTIONALS = [
    None,
    None,
    [],
    ["file_uploaded"],
    ["file_uploaded", "columns_mapped", "import_submitted"],
    ["sheet_operation_performed", "sheet_operation_performed:sum", "columns_mapped", "embed_resumed"],
]


def sessions(random: Random) -> list[dict[str, Any]]:
    """Sessions in the order that the vendor's importer gives them, or none, with ties, repeats, loops and gaps; a third
    do nothing but steps, again and again, so that they have many chains to choose from."""
    rows: list[dict[str, Any]] = []
    for embed_id in range(SESSIONS):
        template = random.choice(["products", "people", None])
        claims = random.choice([None, {"user_id": f"u{random.randrange(SESSIONS // 3)}", "plan": {"na.me": "x"}}])
        if claims is not None and random.random() < 0.5:
            claims["org"] = {"tier": random.choice(["a", "b"])}
        types = list(DEFAULT[: random.randrange(1, 6)]) if random.random() < 0.5 else []
        for _ in range(random.randrange(0, 6)):
            kind = random.choice([*DEFAULT, "sheet_operation_performed", "embed_closed", "unheard_of"])
            types.insert(random.randrange(len(types) + 1), kind)
        if embed_id % 3 == 0:
            types = random.choices(DEFAULT, k=random.randrange(6, 15))
        moment = random.randrange(60)
        for number, event_type in enumerate(types or ["embed_resumed"]):
            moment += random.choice([0, 0, 1, 1, 2, 5])
            rows.append(
                event(
                    f"{random.getrandbits(48):012x}-{embed_id}-{number}",
                    embed_id,
                    event_type,
                    START + timedelta(minutes=moment, days=embed_id % 3),
                    claims=claims,
                    event_id=random.choice([None, random.randrange(5)]),
                    template_key=template,
                    operation=random.choice(["sum", "a:b", None]) if event_type.startswith("sheet") else None,
                )
            )
    return rows


def ask(connection: duckdb.DuckDBPyConnection, **arguments: Any) -> list[dict[str, Any]]:
    """The rows of funnel() without the intervals, which tests/warehouse/test_rates.py looks at."""
    given = ", ".join(f"{name} := {_literal(value)}" for name, value in arguments.items() if value is not None)
    rows = rows_of(connection.execute(f"from funnel({given})"))
    return [{name: row[name] for name in row if not name.endswith(("_low", "_high"))} for row in rows]


def _literal(value: Json) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return str(value) if isinstance(value, (int, float)) else "'" + str(value) + "'"


def expected(
    rows: list[dict[str, Any]], embeds: dict[int, dict[str, Any]], arguments: dict[str, Any], now: datetime
) -> list[dict[str, Any]]:
    """What the oracle says to the same arguments."""

    def breakdown(embed: dict[str, Any]) -> str | None:
        by: str | None = arguments["by"]
        if by is None:
            return None
        if by in embed:
            return None if embed[by] is None else str(embed[by])
        claims: dict[str, Any] = json.loads(embed["claims"] or "{}")
        org: dict[str, Any] = claims.get("org") or {}
        return org.get("tier")

    chosen = {
        embed_id: Session(
            embed_id,
            str(embed_id) if arguments["unit"] == "embed" else embed["user_id"],
            breakdown(embed),
            embed["entry_at"],
            embed["outcome"],
            embed["delivery"],
        )
        for embed_id, embed in embeds.items()
        if (arguments["unit"] == "embed" or embed["user_id"] is not None)
        and (arguments["from_date"] is None or str(embed["entry_date"]) >= arguments["from_date"])
        and (arguments["to_date"] is None or str(embed["entry_date"]) <= arguments["to_date"])
    }
    events = [
        Event(
            chosen[row["embed_id"]].unit,
            chosen[row["embed_id"]].breakdown,
            row["occurred_at"],
            row["event_id"],
            row["event_uuid"],
            row["event_type"],
            row["operation"],
        )
        for row in rows
        if row["embed_id"] in chosen
    ]
    window = WINDOW.total_seconds()
    asked = Asked(
        steps=arguments["steps"] or DEFAULT,
        window=window if arguments["window_seconds"] is None else arguments["window_seconds"],
        mode=arguments["mode"],
        optional=OPTIONAL if arguments["optional"] is None else arguments["optional"],
        exclude=arguments["exclude"] or [],
        by_period=arguments["by_period"],
        conversion=arguments["conversion"] or "submitted",
        include_immature=arguments["include_immature"],
        funnel_window=window,
        now=now,
    )
    return funnel_rows(units_of([*chosen.values()], events, asked), asked)


@pytest.mark.slow
@pytest.mark.prove
@settings(
    max_examples=examples(20),
    # A smaller seed is not a smaller case.
    phases=[phase for phase in Phase if phase is not Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_the_macro_agrees_with_the_oracle(
    new_lake: Callable[[Path], Lake], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    random = Random(seed)
    lake = new_lake(tmp_path_factory.mktemp("oracle") / "home")
    rows = sessions(random)
    lake.write(rows)
    # The first two of the three days are mature.
    now = START + timedelta(days=2, minutes=random.randrange(90))
    lake.sweep(now)
    lake.claims.append(lake.claims[0] | {"path": "org.tier", "column_name": None, "is_column": False})
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        table = connection.execute("select * from fct_embeds")
        columns = [column[0] for column in table.description or []]
        embeds = {row[0]: dict(zip(columns, row, strict=True)) for row in table.fetchall()}
        for mode in ("ordered", "strict", "any"):
            for unit in ("embed", "user"):
                for steps in (None, *random.sample(STEPS, 2)):
                    arguments: dict[str, Any] = {
                        "steps": steps,
                        # A breakdown by the unit shows the seconds of each: a median of many hides one.
                        "by": random.choice([None, "template_key", "org.tier", "embed_id", "embed_id", "user_id"]),
                        "window_seconds": random.choice([None, 0, 60, 180, 1e7]),
                        "mode": mode,
                        "optional": random.choice(OPTIONALS),
                        "unit": unit,
                        "from_date": random.choice([None, None, "2026-03-03"]),
                        "to_date": random.choice([None, None, "2026-03-03"]),
                        "exclude": random.choice([None, None, ["embed_closed"], ["embed_closed", "embed_resumed"]]),
                        "by_period": random.choice([None, None, "day", "month"]),
                        "conversion": random.choice([None, "delivered"]),
                        "include_immature": random.choice([True, False]),
                    }
                    if {*(arguments["exclude"] or [])} & {*(steps or [])}:
                        arguments["exclude"] = None
                    assert ask(connection, **arguments) == expected(rows, embeds, arguments, now), arguments
        _check_steps(connection, rows, embeds)


def _check_steps(
    connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], embeds: dict[int, dict[str, Any]]
) -> None:
    window = WINDOW.total_seconds()
    counts: Counter[tuple[str, int]] = Counter()
    for embed_id, embed in embeds.items():
        mine = [
            Event("", None, r["occurred_at"], r["event_id"], r["event_uuid"], r["event_type"], r["operation"])
            for r in rows
            if r["embed_id"] == embed_id
        ]
        performed = {number for number, step in enumerate(DEFAULT, 1) for event in mine if event.event_type == step}
        skipped = {
            number
            for number in range(1, len(DEFAULT))
            if number not in performed and number < max(performed, default=1)
        }
        in_order = len(seconds_of_steps(mine, DEFAULT, window, "ordered", OPTIONAL))
        assert embed["furthest_step"] == DEFAULT[max(performed, default=1) - 1]
        assert embed["skipped_steps"] == [DEFAULT[number - 1] for number in sorted(skipped)]
        assert embed["in_order_step_count"] == in_order
        counts.update(("reached", number) for number in {1} | performed | skipped)
        counts.update(("performed", number) for number in performed)
        counts.update(("skipped", number) for number in skipped)
        counts.update(("in_order", number) for number in range(1, in_order + 1))
    kinds = ("reached", "performed", "skipped", "in_order")
    sums = ", ".join(f"sum({kind}_count)" for kind in kinds)
    daily = f"select step_number, {sums} from fct_embed_funnel_daily group by all"
    for number, *told in connection.execute(daily).fetchall():
        assert told == [counts[kind, number] for kind in kinds]
    daily = (
        "select template_key, step_number, sum(in_order_count) from fct_embed_funnel_daily group by all order by all"
    )
    asked = "from funnel(by := 'template_key', include_immature := true) order by all"
    asked = f"select breakdown, step_number, reached_count {asked}"
    assert connection.execute(daily).fetchall() == connection.execute(asked).fetchall()


def test_the_default_steps_are_the_vocabulary(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_initialized", START)])
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        steps = connection.execute("select step from funnel() order by step_number").fetchall()
    assert [step for (step,) in steps] == DEFAULT


def test_a_claim_path_with_a_column_answers_as_the_column_does(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_initialized", START, claims={"user_id": "u", "plan": "free"})])
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        for by in ("plan", "claim_plan"):
            assert connection.execute(f"select distinct breakdown from funnel(by := '{by}')").fetchall() == [("free",)]


@pytest.mark.parametrize("mode", ["ordered", "strict", "any"])
def test_the_plan_of_a_large_warehouse_runs(lake: Lake, mode: str) -> None:
    lake.write([event(f"{n}", 1, event_type, START) for n, event_type in enumerate(DEFAULT)])
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        # With few rows DuckDB makes loops of what are other joins, with limits of their own, where there are many.
        connection.execute("set asof_loop_join_threshold = 0")
        connection.execute("set nested_loop_join_threshold = 0")
        connection.execute("set merge_join_threshold = 0")
        assert [row["reached_count"] for row in ask(connection, mode=mode, include_immature=True)] == [1] * 5


@pytest.mark.parametrize(
    "keys", [["plan", "na.me"], ["a.b", "c"], ["back\\", "d"], ["x", 'it"s'], ["x", "a/b~1"], ["x", ""]]
)
def test_a_claim_path_names_any_key(lake: Lake, keys: list[str]) -> None:
    claims: Any = "gold"
    for key in reversed(keys):
        claims = {key: claims}
    (path,) = [path for path, value in walk(claims) if value == "gold"]
    lake.write([event("a", 1, "embed_initialized", START, claims={"user_id": "u"} | claims)])
    lake.claims.append(lake.claims[0] | {"path": path, "column_name": None, "is_column": False})
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        breakdowns = connection.execute(f"select distinct breakdown from funnel(by := {_literal(path)})").fetchall()
    assert breakdowns == [("gold",)]


MISTAKES = {
    "by := 'templat_key'": r"by is neither .*: templat_key\. Did you mean template_key\?",
    "by := 'org.teir'": r"by is neither .*: org\.teir\. Did you mean org\.tier\?",
    "mode := 'loose'": "mode is ordered, strict or any, not loose",
    "mode := null": "mode is .*, not NULL",
    "unit := 'organisation'": "unit is embed or user, not organisation",
    "unit := null": "unit is .*, not NULL",
    "window_seconds := -1": "window_seconds is negative: -1",
    "steps := []": "steps is empty",
    "steps := null": "steps is empty",
    "steps := ['file_uploaded', null]": "a step is NULL",
    "steps := ['file_upload']": r"file_upload is not in the vendor's list .* mean file_uploaded\?",
    "steps := ['file_uploaded', 'import_submited'], mode := 'any'": r"import_submited .* mean import_submitted\?",
    "steps := ['sheet_operation:sum']": r"sheet_operation is not .* mean sheet_operation_performed\?",
    "optional := null": "optional is NULL",
    "optional := ['headers_selected']": r"headers_selected is not .* mean header_selected\?",
    "exclude := null": "exclude is NULL",
    "exclude := [null]": "a step is NULL",
    "exclude := ['embed_close']": r"embed_close is not .* mean embed_closed\?",
    "exclude := ['file_uploaded']": "exclude has file_uploaded, which leaves no event for the step file_uploaded",
    "exclude := ['sheet_operation_performed'], steps := ['file_uploaded', 'sheet_operation_performed:sum']": (
        "exclude has sheet_operation_performed, which leaves no event for the step sheet_operation_performed:sum"
    ),
    "by_period := 'fortnight'": "by_period is day, week, month or NULL, not fortnight",
    "conversion := 'imported'": "conversion is submitted or delivered, not imported",
    "conversion := null": "conversion is .*, not NULL",
    "include_immature := null": "include_immature is true or false, not NULL",
    "to_date := 'last week'": r"to_date is not a date: last week\. Write date '2026-01-31'",
}


@pytest.mark.slow
def test_an_argument_that_cannot_be_meant_is_an_error_whatever_rows_there_are(lake: Lake) -> None:
    lake.claims.append({"path": "org.tier", "column_name": None, "is_column": False, "embed_count": 0})
    for rows in ([], [event("a", 1, "embed_initialized", START)]):
        lake.write(rows)
        build(lake.home, OPTIONS)
        with connect_published(lake.home) as connection:
            for arguments, message in MISTAKES.items():
                for asked in (arguments, f"{arguments}, from_date := '2099-01-01'"):
                    for macro in ("funnel", "funnel_sessions"):
                        with pytest.raises(duckdb.Error, match=f"{macro}: .*{message}"):
                            connection.execute(f"from {macro}({asked})")


@pytest.mark.slow
def test_operations_are_known_once_any_has_been_seen(lake: Lake) -> None:
    asked = "from funnel(steps := ['sheet_operation_performed:set_cell_valeu'], from_date := '2099-01-01')"
    lake.write([event("a", 1, "never_heard_of", START)])
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        assert connection.execute(asked).fetchall() == []
        # Seen, so it is known, though not to the vendor's list.
        assert connection.execute("from funnel(steps := ['never_heard_of'])").fetchall()
    operations = ["set_cell_value", "sum"]
    lake.write([event(name, 1, "sheet_operation_performed", START, operation=name) for name in operations])
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        with pytest.raises(duckdb.Error, match=r"set_cell_valeu .* mean sheet_operation_performed:set_cell_value\?"):
            connection.execute(asked)
        assert connection.execute(asked.replace("valeu", "value")).fetchall() == []


@pytest.mark.slow
def test_an_attached_warehouse_never_answers_for_another(new_lake: Callable[[Path], Lake], tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        for name, count in (("old", 1), ("new", 2)):
            lake = new_lake(tmp_path / name)
            lake.write([event(f"{n}", n, "embed_initialized", START) for n in range(count)])
            build(lake.home, OPTIONS)
            connection.execute(f"attach '{lake.home.warehouse}' as {name} (read_only)")
        with pytest.raises(duckdb.Error, match="does not exist"):
            connection.execute("from old.funnel()")
        for used, other in (("old", "new"), ("new", "old")):
            connection.execute(f"use {used}")
            counted = connection.execute("select immature_count from funnel() where step_number = 1").fetchall()
            assert counted == connection.execute(f"select count(*) from {used}.fct_embeds").fetchall()
            for macro in ("funnel", "funnel_sessions"):
                with pytest.raises(duckdb.Error, match=rf"this {macro}\(\) belongs to another warehouse .* Run USE"):
                    connection.execute(f"from {other}.{macro}(from_date := '2099-01-01')")


def test_an_empty_warehouse_has_no_funnel_rows(lake: Lake) -> None:
    build(lake.home, OPTIONS)
    with connect_published(lake.home) as connection:
        assert ask(connection) == []
        assert ask(connection, by_period="week", conversion="delivered") == []
        assert connection.execute("from funnel_sessions()").fetchall() == []
