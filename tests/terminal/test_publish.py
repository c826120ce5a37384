"""Publishing without the API: after a sweep that failed, in the same run, and by `embed-analytics publish`."""

import json
import shutil
import socket
from pathlib import Path

import orjson
import polars as pl
import pytest

from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.terminal.test_cli import fails, run
from tests.webhooks.receiving import running_receiver

SAMPLE = (Path(__file__).parents[1] / "simulator" / "fixtures" / "webhook_event.json").read_bytes()
PUSHED_EMBED = orjson.loads(SAMPLE)["embed_id"]

# Requests before the key is refused: the key, the list, and a few of the embeds.
BEFORE_REFUSAL = 9


def push(folder: Path) -> None:
    with running_receiver(folder / "home") as receiver:
        assert receiver.push(SAMPLE).status_code == 200


def rows(folder: Path, sql: str) -> list[dict[str, object]]:
    done = run(folder, "query", sql, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def raw_uuids(folder: Path) -> set[str]:
    files = (folder / "home" / "raw" / "embed_events").rglob("*.parquet")
    return {uuid for path in files for uuid in pl.read_parquet(path, columns=["event_uuid"])["event_uuid"]}


def published_uuids(folder: Path) -> set[object]:
    return {row["event_uuid"] for row in rows(folder, "select event_uuid from stg_embed_events")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switches", "words", "lands"),
    [
        ({"refused_after_requests": BEFORE_REFUSAL}, ["refused the key", "Next: set the ONESCHEMA_API_KEY"], True),
        ({"broken_list": "500"}, ["500", "Next: see whether the vendor"], False),
        ({"broken_list": "404"}, ["404"], False),
    ],
    ids=["refused-in-the-middle", "list-500", "list-404"],
)
def test_what_had_landed_is_published_when_the_sweep_fails(
    tmp_path: Path, switches: dict[str, object], words: list[str], lands: bool
) -> None:
    push(tmp_path)
    with running_simulator(SimulatorOptions(embeds=30, days=4)) as simulator:
        simulator.throw(**switches)
        done = run(
            tmp_path,
            "refresh",
            ONESCHEMA_API_KEY=simulator.api_key,
            ONESCHEMA_API_URL=simulator.url,
            EMBED_ANALYTICS_CONCURRENCY="1",
            EMBED_ANALYTICS_RETRY_BUDGET_SECONDS="1",
        )
    fails(done, "What had landed was flattened and published anyway.", *words)
    assert "and 1 by webhook" in done.stdout
    assert f"published {tmp_path / 'home' / 'warehouse.duckdb'}" in done.stdout
    held = raw_uuids(tmp_path)
    assert (len(held) > 1) == lands
    assert published_uuids(tmp_path) == held
    assert rows(tmp_path, f"select event_count from fct_embeds where embed_id = {PUSHED_EMBED}") == [{"event_count": 1}]
    # It does not count as a sweep that asked all: nothing is said to be as fresh as that.
    assert rows(tmp_path, "select data_through from meta_build") == [{"data_through": None}]


@pytest.mark.slow
def test_what_webhooks_brought_is_published_when_the_host_is_gone(tmp_path: Path) -> None:
    push(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    done = run(tmp_path, "reconcile", ONESCHEMA_API_KEY="k", ONESCHEMA_API_URL=url)
    fails(done, "cannot be reached", "What had landed was flattened and published anyway.", "Next: check")
    assert len(published_uuids(tmp_path)) == 1


@pytest.mark.slow
def test_a_sweep_that_needs_another_setting_publishes_nothing(tmp_path: Path) -> None:
    push(tmp_path)
    with running_simulator(SimulatorOptions(embeds=3, days=2)) as simulator:
        account = {"ONESCHEMA_API_KEY": simulator.api_key, "ONESCHEMA_API_URL": simulator.url}
        home = {"api_url": "https://api.oneschema.co", "organisation": "Somebody Else"}
        (tmp_path / "home" / "home.json").write_text(json.dumps(home))
        fails(run(tmp_path, "refresh", **account), "Somebody Else", "Next: correct the setting")
    assert not (tmp_path / "home" / "warehouse.duckdb").exists()


@pytest.mark.slow
def test_publish_makes_everything_from_raw_and_the_journal_without_a_key(tmp_path: Path) -> None:
    tables = ("fct_embeds", "fct_embed_funnel_daily", "stg_validation_errors", "rpt_stuck_embeds", "meta_sweeps")
    with running_simulator(SimulatorOptions(embeds=20, days=4)) as simulator:
        account = {"ONESCHEMA_API_KEY": simulator.api_key, "ONESCHEMA_API_URL": simulator.url}
        done = run(tmp_path, "refresh", **account)
        assert done.returncode == 0, done.stderr
    before = {table: rows(tmp_path, f"from {table} order by all") for table in tables}
    for path in (tmp_path / "home").iterdir():
        if path.name != "raw":
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    done = run(tmp_path, "publish")

    assert done.returncode == 0, done.stderr
    assert "took in 0 new events by webhook" in done.stdout
    assert "asking" not in done.stderr
    assert {table: rows(tmp_path, f"from {table} order by all") for table in tables} == before
    push(tmp_path)
    done = run(tmp_path, "publish", "--full-refresh")
    assert done.returncode == 0, done.stderr
    assert "took in 1 new events by webhook, flattened 1 days" in done.stdout
    assert published_uuids(tmp_path) == raw_uuids(tmp_path)
    assert rows(tmp_path, "select is_full from meta_build") == [{"is_full": True}]
