"""The published file under readers, killed builds, failures, and older clients."""

import errno
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from pipelines.errors import CheckFailedError, WarehouseMissingError
from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildCheckFailedError, BuildOutOfMemoryError
from pipelines.warehouse.check import Check
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.constraints import constraints_of
from pipelines.warehouse.models import load_models
from pipelines.warehouse.publish import kept_folder
from pipelines.warehouse.published import connect_published
from pipelines.warehouse.sql_errors import ModelFailedError
from tests.warehouse import build_process, reader_process
from tests.warehouse.history import History
from tests.warehouse.lake import Lake, at, event

OPTIONS = BuildOptions(code_version="test")


def keeping(count: int) -> BuildOptions:
    return BuildOptions(Settings.defaults(embed_analytics_keep_warehouses=count), "test")


REPOSITORY = Path(__file__).parents[2]
BUILDS = 100
READERS = 2
KILLS = 12


def grow(lake: Lake, rows: list[dict[str, Any]], number: int) -> None:
    """One more event, in a new session or an old one."""
    kinds = ("embed_initialized", "sheet_operation_performed", "import_submitted")
    rows.append(event(f"e{number}", number // 3, kinds[number % 3], at(number)))
    lake.write([row for row in rows if row["lake_partition"] == rows[-1]["lake_partition"]])
    lake.sweep(at(number + 1))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def no_leftovers(home: Home) -> bool:
    return not [path for path in home.root.iterdir() if "building" in path.name or path.suffix == ".wal"]


def wait_for_a_read(reader: subprocess.Popen[str], until: Path) -> None:
    """Until the reader begins one more, so that a slow machine gives as many as a fast one."""
    progress = reader_process.progress_file(until, reader.pid)

    def begun() -> int:
        return progress.stat().st_size if progress.exists() else 0

    before = begun()
    while begun() == before:
        assert reader.poll() is None
        time.sleep(0.001)


@pytest.mark.slow
def test_readers_in_other_processes_never_fail_and_never_see_half_a_build(lake: Lake, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    grow(lake, rows, 0)
    build(lake.home, OPTIONS)
    until = tmp_path / "end"
    readers = [
        subprocess.Popen(
            [sys.executable, reader_process.__file__, str(lake.home.warehouse), str(until)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(READERS)
    ]
    try:
        for number in range(1, BUILDS + 1):
            grow(lake, rows, number)
            build(lake.home, OPTIONS, full_refresh=number % 10 == 0)
            for reader in readers:
                wait_for_a_read(reader, until)
    finally:
        until.touch()
        reports = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]
    for report in reports:
        assert report["failures"] == []
        assert report["reads"] >= BUILDS
        assert report["builds"] >= BUILDS / 4
    assert no_leftovers(lake.home)


@pytest.mark.slow
@pytest.mark.parametrize("fails", [True, False])
def test_a_file_that_is_replaced_while_it_is_opened_is_opened_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """DuckDB opens it twice: of two files it may find too few bytes, or take blocks of one for those of the other."""
    grow(lake, [], 0)
    build(lake.home, OPTIONS)
    connect = duckdb.connect
    published: list[str] = []

    class Replaced:
        """A connection. While the first one attaches the file, a build is published."""

        def __init__(self) -> None:
            self._connection = connect()

        def execute(self, sql: str, *arguments: Any) -> Any:
            done = self._connection.execute(sql, *arguments)
            if sql.startswith("attach") and not published:
                monkeypatch.setattr(duckdb, "connect", connect)
                published.append(build(lake.home, OPTIONS).build_id)
                if fails:
                    raise duckdb.IOException("Could not read enough bytes")
            return done

        def close(self) -> None:
            self._connection.close()

    monkeypatch.setattr(duckdb, "connect", Replaced)
    connection = connect_published(lake.home)
    assert connection.execute("select build_id from meta_build").fetchall() == [(published[0],)]
    connection.close()


def test_a_file_that_cannot_be_opened_and_was_not_replaced_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.warehouse.write_bytes(b"no database" * 2_000)
    with pytest.raises(duckdb.Error, match=r"warehouse\.duckdb"):
        connect_published(home)


@pytest.mark.slow
def test_a_killed_build_never_harms_the_published_file(lake: Lake, tmp_path: Path) -> None:
    random = Random(3)
    history = History(lake, random)
    history.batch()
    build(lake.home, OPTIONS)
    pickled = tmp_path / "lake.pickle"
    interrupted = 0
    for _ in range(KILLS):
        history.batch()
        pickled.write_bytes(pickle.dumps(lake))
        with subprocess.Popen(
            [sys.executable, build_process.__file__, str(pickled)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "scan\n"
            # Shortly after a random phase of the first two builds began, whatever time they take.
            for _ in range(random.randrange(14)):
                process.stdout.readline()
            timer = threading.Timer(random.random() * 0.1, process.kill)
            timer.start()
            process.stdout.read()
            timer.join()
        assert process.returncode == -9
        interrupted += not no_leftovers(lake.home)
        reader_process.read(str(lake.home.warehouse))
    assert interrupted >= KILLS / 4
    build(lake.home, OPTIONS)
    assert no_leftovers(lake.home)
    with connect_published(lake.home) as connection:
        assert connection.execute("select count(*) from stg_embed_events").fetchone() == (len(history.events),)


def test_nothing_published_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WarehouseMissingError, match="embed-analytics refresh"):
        connect_published(Home(tmp_path))


@pytest.mark.slow
def test_an_open_reader_keeps_its_snapshot_and_a_new_one_sees_the_new_build(lake: Lake) -> None:
    rows: list[dict[str, Any]] = []
    grow(lake, rows, 0)
    build(lake.home, OPTIONS)
    count = "select count(*) from stg_embed_events"
    with connect_published(lake.home) as before:
        assert before.execute(count).fetchone() == (1,)
        grow(lake, rows, 1)
        build(lake.home, OPTIONS)
        assert before.execute(count).fetchone() == (1,)
        with connect_published(lake.home) as after:
            assert after.execute(count).fetchone() == (2,)
            with pytest.raises(duckdb.Error, match="read-only"):
                after.execute("delete from stg_embed_events")


WRITING_CLIENT = """
import os, sys
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("delete from fct_embeds")
print("open", flush=True)
sys.stdin.read()
os._exit(1)
"""


@pytest.mark.slow
def test_a_client_that_writes_neither_stops_a_build_nor_changes_the_next_file(lake: Lake) -> None:
    rows: list[dict[str, Any]] = []
    grow(lake, rows, 0)
    build(lake.home, OPTIONS)
    with subprocess.Popen(
        [sys.executable, "-c", WRITING_CLIENT, str(lake.home.warehouse)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "open\n"
        for number in range(1, 4):
            grow(lake, rows, number)
        report = build(lake.home, OPTIONS)
    assert "has a log beside it" in (report.full_reason or "")
    reader_process.read(str(lake.home.warehouse))
    assert no_leftovers(lake.home)


@pytest.mark.slow
def test_the_log_of_a_client_that_died_is_not_replayed_on_the_next_file(lake: Lake) -> None:
    rows: list[dict[str, Any]] = []
    grow(lake, rows, 0)
    build(lake.home, OPTIONS)
    subprocess.run([sys.executable, "-c", WRITING_CLIENT, str(lake.home.warehouse)], input="", text=True, check=False)
    assert not no_leftovers(lake.home)
    grow(lake, rows, 1)
    build(lake.home, OPTIONS)
    reader_process.read(str(lake.home.warehouse))
    assert no_leftovers(lake.home)


@pytest.mark.parametrize("full_refresh", [False, True])
def test_a_published_file_that_is_broken_is_built_anew(lake: Lake, *, full_refresh: bool) -> None:
    lake.write([event("a", 1, "embed_closed", at(0))])
    lake.home.warehouse.write_bytes(b"no database" * 999)
    assert build(lake.home, OPTIONS, full_refresh=full_refresh).is_full
    reader_process.read(str(lake.home.warehouse))


@pytest.mark.slow
def test_a_build_without_enough_memory_says_so_and_publishes_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0))])
    connect = duckdb.connect

    def connect_with_little(*arguments: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        connection = connect(*arguments, **options)
        connection.execute("set memory_limit = '1MB'")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(duckdb, "connect", connect_with_little)
        with pytest.raises(BuildOutOfMemoryError, match=r"ran out of memory \(.*EMBED_ANALYTICS_MEMORY_LIMIT"):
            build(lake.home, BuildOptions())
    assert not lake.home.warehouse.exists()
    build(lake.home, BuildOptions())
    assert no_leftovers(lake.home)


@pytest.mark.slow
def test_the_last_published_files_are_kept(lake: Lake) -> None:
    rows: list[dict[str, Any]] = []
    built: list[str] = []
    for number in range(5):
        grow(lake, rows, number)
        built.append(build(lake.home, keeping(2)).build_id)
    kept = sorted(path.stem for path in kept_folder(lake.home).iterdir())
    assert kept == built[2:4]
    with duckdb.connect(kept_folder(lake.home) / f"{kept[0]}.duckdb", read_only=True) as connection:
        assert connection.execute("select count(*) from stg_embed_events").fetchone() == (3,)
    build(lake.home, keeping(0))
    assert list(kept_folder(lake.home).iterdir()) == []


@pytest.mark.slow
def test_without_hard_links_a_copy_is_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    first = build(lake.home, OPTIONS)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    build(lake.home, OPTIONS)
    assert [path.name for path in kept_folder(lake.home).iterdir()] == [f"{first.build_id}.duckdb"]


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False], ids=["first build", "refresh"])
def test_a_failed_blocking_check_publishes_nothing_and_says_which_rows(lake: Lake, *, is_first: bool) -> None:
    rows: list[dict[str, Any]] = []
    grow(lake, rows, 0)
    if not is_first:
        build(lake.home, OPTIONS)
    published = lake.home.warehouse.read_bytes() if not is_first else None
    twice = event("twice", 5, "file_uploaded", at(3))
    lake.write([*rows, twice, twice])
    with pytest.raises(CheckFailedError, match=r"stg_embed_events_unique .*'twice'") as failure:
        build(lake.home, OPTIONS)
    assert isinstance(failure.value, BuildCheckFailedError)
    failed = next(check for check in failure.value.report.failed_checks if check.name == "stg_embed_events_unique")
    assert (failed.table, failed.severity, failed.failing_count) == ("stg_embed_events", "error", 1)
    assert failed.sample == [{"event_uuid": "twice", "row_count": 2}]
    assert no_leftovers(lake.home)
    assert (lake.home.warehouse.read_bytes() if lake.home.warehouse.exists() else None) == published
    with duckdb.connect(lake.home.root / "warehouse.failed.duckdb", read_only=True) as connection:
        assert connection.execute("select count(*) from stg_embed_events").fetchone() == (3,)
    lake.write([*rows, twice])
    build(lake.home, OPTIONS)


def test_any_other_failure_leaves_the_published_file_as_it_was(lake: Lake) -> None:
    rows: list[dict[str, Any]] = []
    grow(lake, rows, 0)
    build(lake.home, OPTIONS)
    published = lake.home.warehouse.read_bytes()
    lake.write([event("bad", 1, "embed_closed", at(1), claims={"user_id": "u"}) | {"claims": "{"}])
    with pytest.raises(ModelFailedError):
        build(lake.home, OPTIONS, full_refresh=True)
    assert lake.home.warehouse.read_bytes() == published
    assert no_leftovers(lake.home)
    assert (lake.home.root / "warehouse.failed.duckdb").exists()


def failing(lake: Lake, *, check_everything: bool = False, full_refresh: bool = False) -> set[tuple[str, str]]:
    """Checks that fail, from a build that publishes or not."""
    try:
        report = build(lake.home, OPTIONS, check_everything=check_everything, full_refresh=full_refresh)
    except BuildCheckFailedError as error:
        report = error.report
    return {(check.name, check.severity) for check in report.failed_checks} - {("data_fresh", "warn")}


def test_warnings_do_not_block(lake: Lake) -> None:
    coverage = '[{"event_date": "2026-03-02", "held_at_source_count": 1, "held_purged_count": 0, "unheld_count": 3}]'
    lake.write([event("a", 1, "odd", at(0), trigger_type="robot")], {"unknown": 1})
    lake.sweep(at(0), kind="reconcile", coverage=coverage)
    lake.sweep(at(1), failed_count=1)
    expected = {"event_types_known", "trigger_types_known", "quarantine_empty", "coverage_complete", "sweep_succeeded"}
    assert failing(lake) == {(name, "warn") for name in expected}
    assert lake.home.warehouse.exists()


@pytest.mark.slow
def test_claim_paths_that_are_not_listed_are_a_warning(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_closed", at(0), claims={"user_id": "u"})])
    assert failing(lake) == set()
    lake.days["2026-03-02"]["unlisted_claim_count"] = 2
    assert failing(lake, full_refresh=True) == {("claims_listed", "warn")}
    lake.days["2026-03-02"]["unlisted_claim_count"] = 0
    lake.claims[0]["unlisted_path_count"] = 1
    assert failing(lake, full_refresh=True) == {("claims_listed", "warn")}


@pytest.mark.slow
def test_of_sweeps_of_one_moment_the_later_name_is_the_latest(lake: Lake) -> None:
    lake.sweep(at(0), failed_count=1)
    lake.sweep(at(0))
    assert failing(lake) == set()
    lake.sweep(at(0), failed_count=1)
    assert failing(lake) == {("sweep_succeeded", "warn")}


def test_a_delivery_that_is_lost_blocks(lake: Lake) -> None:
    rows = [event("a", 1, "embed_closed", at(0)), event("b", 1, "embed_closed", at(1))]
    lake.write(rows)
    raw = lake.home.raw_embed_events / "event_date=2026-03-02" / "more.parquet"
    raw.write_bytes((raw.parent / "data.parquet").read_bytes())
    assert failing(lake) == {("deliveries_reconcile", "error")}


def test_a_lake_that_does_not_hold_what_flattening_counted_blocks(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_closed", at(0), counts={"x": {"A": 1}})])
    lake.days["2026-03-02"]["validation_error_count"] = 2
    assert failing(lake) == {("stg_lake_days_reconcile", "error")}


def test_rows_without_what_is_required_block(lake: Lake) -> None:
    lake.write([event("a", 1, "embed_closed", at(0), jwt_status=None)])
    assert failing(lake) == {("stg_embed_events_not_null", "error")}


@pytest.mark.parametrize("check", load_checks(), ids=lambda check: check.name)
def test_each_check_names_a_table_that_there_is(check: Check) -> None:
    assert check.table in {model.name for model in load_models()}
    assert check.description.endswith(".")


TAMPERINGS = {
    "fct_embeds_reconcile": "update fct_embeds set event_count = event_count + 1",
    "fct_embeds_total": "delete from fct_embeds",
    "fct_embeds_timed": "update fct_embeds set outcome = 'unknown'",
    "fct_embed_funnel_daily_falls": "update fct_embed_funnel_daily set reached_count = 9 where step_number = 4",
    "fct_embed_funnel_daily_reconcile": "update fct_embed_funnel_daily set reached_count = 0",
    "fct_sheet_operations_daily_reconcile": "update fct_sheet_operations_daily set operation_count = 9",
    "fct_events_daily_reconcile": "delete from fct_events_daily",
    "fct_validation_errors_daily_reconcile": "update fct_validation_errors_daily set error_count = 99",
    "fct_embed_validation_errors_reconcile": "update fct_embed_validation_errors set last_error_count = 99",
    "fct_embed_validation_errors_resolved": "update fct_embed_validation_errors set is_resolved = false",
    "stg_embed_events_dated": "update stg_embed_events set event_date = event_date + 1",
    "stg_validation_errors_reported": "update stg_validation_errors set event_uuid = 'nowhere'",
    "stg_lake_days_reconcile": "delete from stg_embed_events",
    "deliveries_reconcile": "delete from stg_lake_days",
    "explain_change_adds_up": "create or replace macro explain_change() as table "
    "select unnest(['total', 'segments', 'steps']) as split, unnest([1.0, 0.5, 1.0]) as contribution",
}


def constraint_tamperings() -> Iterator[tuple[str, str]]:
    """Two rows without any value break every constraint; a view is made to show them."""
    for model in load_models():
        shown = ", ".join(f"null as {column}" for column in model.columns)
        sql = f"insert into {model.name} by name select {shown} from range(2)"
        if model.refresh == "view":
            sql = f"create or replace view {model.name} as select {shown} from range(2)"
        yield from ((constraint.name, sql) for constraint in constraints_of(model))


def test_every_blocking_check_can_fail(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.warehouse import build as build_module

    counts = {"item": {"MISSING": 2}}
    lake.write(
        [
            event("a", 1, "embed_initialized", at(0)),
            event("b", 1, "columns_mapped", at(1), counts=counts),
            event("c", 1, "sheet_operation_performed", at(2), operation="sum"),
        ]
    )
    lake.embeds([{"embed_id": 1, "status": "uploaded"}])
    run_checks = build_module.run_checks
    tamperings = TAMPERINGS | dict(constraint_tamperings())
    blocking = {check.name for check in load_checks() if check.severity == "error"}
    assert blocking == tamperings.keys()

    def tampering(connection: duckdb.DuckDBPyConnection, checks: Any, *arguments: Any, **options: Any) -> Any:
        results = list(run_checks(connection, checks, *arguments, **options))
        for name, sql in tamperings.items():
            connection.execute("begin")
            connection.execute(sql)
            (check,) = [check for check in checks if check.name == name]
            found = list(run_checks(connection, [check], *arguments, **options))
            connection.execute("rollback")
            assert not found[0].passed, name
        return results

    monkeypatch.setattr(build_module, "run_checks", tampering)
    assert failing(lake) == set()


def funnel_queries() -> Iterator[tuple[str, str]]:
    """Every mode, unit and state, with all that may be asked. JSON has no dates."""
    given = "by := 'template_key', window_seconds := 600, exclude := ['embed_closed'], by_period := 'week', "
    given += "conversion := 'delivered', include_immature := true"
    asked = [*product(("ordered", "strict", "any"), ("embed", "user"))]
    for mode, unit in asked:
        arguments = f"mode := '{mode}', unit := '{unit}', {given}"
        yield f"{mode} {unit}", f"select * replace (period::varchar as period) from funnel({arguments})"
    # Not every one of them with each: DuckDB 1.1.3 takes seconds to plan one.
    for (mode, unit), state in zip(asked, ("reached", "performed", "skipped", "dropped", "open"), strict=False):
        arguments = f"step := 2, state := '{state}', mode := '{mode}', unit := '{unit}', {given}"
        columns = "breakdown, period::varchar, embed_id, embed_ids, is_mature, seconds_from_entry"
        yield f"sessions that {state}", f"select {columns} from funnel_sessions({arguments})"


SUMMED = {
    "rpt_metrics": ("value", "low"),
    "rpt_error_outcomes": ("unsubmitted_rate_low", "odds_ratio", "odds_ratio_high", "pair_number"),
    "rpt_step_times": ("reached_rate_low", "p50_seconds", "p50_seconds_low"),
    "rpt_repairs": ("submitted_rate_high", "pair_number"),
}
"""Columns of views that call functions."""


def view_queries() -> Iterator[tuple[str, str]]:
    for view, columns in SUMMED.items():
        yield f"sums of {view}", f"select {', '.join(f'round(sum({name}), 6)' for name in columns)} from {view}"


OLD_CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import duckdb
assert duckdb.__version__ == "1.1.3", duckdb.__version__
connection = duckdb.connect(sys.argv[2], read_only=True)
# It would print bars for what takes seconds.
connection.execute("set enable_progress_bar = false")
query = "select table_name from information_schema.tables where table_schema = 'main'"
tables = [name for (name,) in connection.execute(query).fetchall()]
answer = {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}
for name, sql in json.loads(sys.argv[3]).items():
    answer[name] = connection.execute(sql).fetchall()
for measure in ("submitted", "delivered"):
    answer[measure] = connection.execute(
        "select split, part, round(contribution, 12), rate_difference_low from explain_change("
        f"measure := '{measure}', before_from := '2026-03-02', after_from := '2026-03-04', after_to := '2026-03-31', "
        "include_immature := true)"
    ).fetchall()
answer["time_to"] = connection.execute("select * exclude (breakdown) from time_to()").fetchall()
for hold in ("[]", "['template_key', 'team']"):
    answer["drivers" + hold] = connection.execute(
        f"from drivers(at_step := 'embed_initialized', hold := {hold}, min_count := 1, include_immature := true)"
        " order by kind, factor, value"
    ).fetchall()
answer["tail"] = connection.execute("select chi_square_tail(3, 1), chi_square_tail(3.5, 7)").fetchone()
answer["interval"] = connection.execute("select wilson_low(15, 148), wilson_high(15, 148)").fetchone()
query = "select comment from duckdb_tables() where table_name = 'fct_embeds'"
answer["comment"] = connection.execute(query).fetchone()[0]
print(json.dumps(answer))
"""


@pytest.mark.slow
def test_the_published_file_opens_in_duckdb_1_1_3_with_its_macro(lake: Lake, pytestconfig: pytest.Config) -> None:
    # Sessions that time_to() follows from their beginning and drivers() can compare, beside a random history of others.
    lake.write(
        event(
            f"{number}-{n}",
            900 + number,
            event_type,
            at(number * n - 2 * 24 * 60),
            environment_name=["Production", "Staging"][number // 4],
        )
        for number in range(1, 7)
        for n, event_type in enumerate(["embed_initialized", ["embed_closed", "import_submitted"][number % 2]])
    )
    # Sessions with and without an error, on a mature day, of which some submit.
    lake.write(
        event(
            f"{number}-{event_type}",
            900 + number,
            event_type,
            at(n - 9 * 24 * 60),
            counts={"sku": {"MISSING": number % 2}} if event_type == "columns_mapped" else None,
            operation="sum" if event_type == "sheet_operation_performed" else None,
        )
        for number in range(10, 18)
        for n, event_type in enumerate(
            ["embed_initialized", "columns_mapped", "sheet_operation_performed", "import_submitted"][
                : 3 + number // 2 % 2
            ]
        )
    )
    history = History(lake, Random(1))
    for _ in range(8):
        history.batch()
    lake.sweep(history.now + timedelta(hours=1))
    # The third one writes into the first one's file.
    reports = [build(lake.home, keeping(0)) for _ in range(3)]
    assert reports[-1].is_recycled == (sys.platform == "linux")
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir(f"duckdb-1.1.3-py{sys.version_info[0]}{sys.version_info[1]}")
    if not (folder / "duckdb").exists():
        lock = Path(__file__).with_name("duckdb-1.1.3.lock")
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--require-hashes", "--only-binary", ":all:", "--target", str(folder), "--requirement", str(lock)],
            check=True,
        )  # fmt: skip
    asked = dict([*funnel_queries(), *view_queries()])
    told = subprocess.run(
        [sys.executable, "-c", OLD_CLIENT, str(folder), str(lake.home.warehouse), json.dumps(asked)],
        check=True,
        capture_output=True,
        text=True,
    )
    old = json.loads(told.stdout)
    with connect_published(lake.home) as connection:
        for name in ("stg_embed_events", "fct_embeds", "rpt_embed_timeline", "meta_build"):
            assert connection.execute(f"select count(*) from {name}").fetchone() == (old[name],)
        for name, sql in asked.items():
            rows = connection.execute(sql).fetchall()
            assert rows or "sessions" in name
            assert not name.startswith("sums") or None not in rows[0]
            assert [list(row) for row in rows] == old[name]
        for measure in ("submitted", "delivered"):
            rows = connection.execute(
                "select split, part, round(contribution, 12), rate_difference_low from explain_change("
                f"measure := '{measure}', before_from := '2026-03-02', after_from := '2026-03-04', "
                "after_to := '2026-03-31', include_immature := true)"
            ).fetchall()
            assert len(rows) > 5
            assert [list(row) for row in rows] == old[measure]
        rows = connection.execute("select * exclude (breakdown) from time_to()").fetchall()
        assert sum(row[2] for row in rows) == 3 + 4
        for row, of_old in zip(rows, old["time_to"], strict=True):
            assert list(row) == pytest.approx(of_old)
        for hold in ("[]", "['template_key', 'team']"):
            rows = connection.execute(
                f"from drivers(at_step := 'embed_initialized', hold := {hold}, min_count := 1, "
                "include_immature := true) order by kind, factor, value"
            ).fetchall()
            assert any(row[19] is not None for row in rows)
            for row, of_old in zip(rows, old[f"drivers{hold}"], strict=True):
                assert list(row) == pytest.approx(of_old)
        tail = connection.execute("select chi_square_tail(3, 1), chi_square_tail(3.5, 7)").fetchone()
        assert tail == pytest.approx(tuple(old["tail"]))
        interval = connection.execute("select wilson_low(15, 148), wilson_high(15, 148)").fetchone()
        assert interval == pytest.approx(tuple(old["interval"]))
    assert old["fct_embeds"] > 10
    assert old["comment"]
