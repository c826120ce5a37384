"""The demo, whatever the environment says, and what it says itself."""

import os
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest

from pipelines.report.annotations import Annotation, read_annotations
from tests.orchestration.dev_server import dev_server
from tests.terminal.test_cli import fails, run

# None of it is the demo's business; a proxy leads out of this machine, where the simulator is.
FOREIGN = {
    "ONESCHEMA_REGION": "mars",
    "ONESCHEMA_API_KEY": "osk_somebody_elses",
    "EMBED_ANALYTICS_HOME": "/proc/nowhere",
    "EMBED_ANALYTICS_FUNNEL_WINDOW_DAYS": "soon",
    "EMBED_ANALYTICS_REFRESH_CRON": "never",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


def demo(cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(cwd, "demo", "--embeds", "200", "--days", "3", **FOREIGN)


@pytest.mark.slow
def test_the_demo_answers_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ONESCHEMA_API_URL=https://elsewhere.invalid\n", encoding="utf-8")
    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr
    titles = ("The funnel", "The worst columns", "The operations")
    blocks = [re.split(r"\n\s*\n", done.stdout.partition(title)[2], maxsplit=1)[0] for title in titles]
    assert "embed_initialized" in blocks[0]
    assert "200 embeds are left out: they began too late" in done.stdout
    assert "INVALID_" in blocks[1]
    operations = [line.split("  ")[0].strip() for line in blocks[2].splitlines()[2:]]
    assert {"set_cell_value", "(not said)"} <= set(operations)
    assert "" not in operations

    page = tmp_path / "demo-data" / "report.html"
    assert f"The page, to open in a browser: {page.as_uri()}" in done.stdout
    assert "<h1>Import funnel</h1>" in page.read_text(encoding="utf-8")
    warehouse = tmp_path / "demo-data" / "warehouse.duckdb"
    assert f"The warehouse is {warehouse};" in done.stdout
    queries = re.findall(r'EMBED_ANALYTICS_HOME=demo-data \S.* query "(.+)"', done.stdout)
    assert len(queries) == 5
    for sql in queries:
        answer = run(tmp_path, "query", sql, EMBED_ANALYTICS_HOME="demo-data")
        assert answer.returncode == 0, answer.stderr
    # In an account of three days both things that happened may be of one day, by the hour in which the demo begins.
    told = re.findall(r"Since (\S+): (.+)\.$", done.stdout, re.MULTILINE)
    ((day, release),) = [(day, text) for day, text in told if text.startswith("Release")]
    assert read_annotations(tmp_path / "demo-data" / "annotations.csv") == [
        Annotation(date.fromisoformat(day), release, "employees")
    ]

    following = done.stdout.partition("Next:")[2]
    assert "refresh" in following
    (command,) = re.findall(r"^ +(.+ dev --demo .+)$", following, re.MULTILINE)
    with dev_server(FOREIGN, tmp_path, tmp_path / "dev.log", shlex.split(command)) as server:
        assert server.ask("{ version }")["version"]
    reconcile_the_account_that_goes_on(tmp_path)

    with duckdb.connect(warehouse, read_only=True) as connection:
        assert connection.execute("select count(*) > 3 from rpt_customers where plan is not null").fetchone() == (True,)

    # Again, over what the first one left: made anew.
    with duckdb.connect(warehouse, read_only=True) as connection:
        first = connection.execute("select build_id from meta_build").fetchone()
    assert demo(tmp_path).returncode == 0
    with duckdb.connect(warehouse, read_only=True) as connection:
        assert connection.execute("select count(*) from fct_embeds").fetchone() == (200,)
        assert connection.execute("select build_id from meta_build").fetchone() != first


RECONCILE = """
import subprocess, sys
from pathlib import Path
from pipelines.terminal import demo

def reconcile(host, port):
    subprocess.run([sys.executable, "-m", "pipelines", "reconcile"], check=True)

demo.run_dagster_dev = reconcile
demo.run_demo_dev(Path("demo-data"), "127.0.0.1", 0)
"""


def reconcile_the_account_that_goes_on(folder: Path) -> None:
    """In place of Dagster's UI, a reconcile with the same settings: it finds all that was held, and nothing else."""
    environment = {**os.environ, **FOREIGN, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", RECONCILE], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with duckdb.connect(folder / "demo-data" / "warehouse.duckdb", read_only=True) as connection:
        metrics = dict(
            connection.execute("select metric, value from rpt_metrics where period = 'now' and is_all_plans").fetchall()
        )
        assert connection.execute("select count(*) > 3 from rpt_customers where plan is not null").fetchone() == (True,)
    assert (metrics["purged_events"], metrics["unheld_events"], metrics["unreconciled_days"]) == (0, 0, 0)
    assert metrics["held_events"] > 500


@pytest.mark.slow
def test_a_home_that_is_no_demos_cannot_be_opened_as_one(tmp_path: Path) -> None:
    (tmp_path / "demo-data").mkdir()
    fails(run(tmp_path, "dev", "--demo", "demo-data"), str(tmp_path / "demo-data"), "`embed-analytics demo`")


def test_a_folder_that_is_no_demos_stays(tmp_path: Path) -> None:
    (tmp_path / "demo-data").mkdir()
    (tmp_path / "demo-data" / "mine.txt").write_text("mine")
    fails(demo(tmp_path), "demo-data", "--home")
    assert (tmp_path / "demo-data" / "mine.txt").read_text() == "mine"
