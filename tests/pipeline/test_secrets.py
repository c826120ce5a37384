"""No credential is anywhere below the home, or in what a run printed, after a run through every fault."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.simulator.faults import parse_faults
from pipelines.simulator.options import EventShape, SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.spellings import found_in, spelled

FAULTS = "all=0.2,retry-after=0.01,timeout-seconds=1"


def texts_below(root: Path) -> dict[Path, str]:
    """Everything that files below `root` say: Parquet, DuckDB and SQLite read back, since compression hides bytes."""
    texts: dict[Path, str] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        head = path.read_bytes()[:16]
        if head.startswith(b"PAR1"):
            frame = pl.read_parquet(path, hive_partitioning=False)
            texts[path] = frame.write_ndjson() + str(pl.read_parquet_metadata(path))
        elif head.startswith(b"SQLite format 3"):
            texts[path] = "\n".join(sqlite3.connect(path).iterdump())
        elif head[8:12] == b"DUCK":
            with duckdb.connect(path, read_only=True) as connection:
                tables = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
                rows = [connection.execute(f'select * from "{s}"."{t}"').fetchall() for s, t in tables]
                texts[path] = str(rows)
        else:
            texts[path] = path.read_bytes().decode("utf-8", "replace")
    return texts


def leaks(texts: dict[Path, str], needles: set[str]) -> set[Path]:
    return {path for path, text in texts.items() if found_in(text, needles)}


def credentials(simulator: RunningSimulator) -> set[str]:
    found = simulator.admin.get("credentials").json()
    # A malformed token can be a word that stands anywhere ("null"); every real one is longer.
    return {text for kind in found.values() for text in kind if len(text) >= 16}


def run(simulator: RunningSimulator, home: Path, *arguments: str, key: str | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {
        "ONESCHEMA_API_KEY": key or simulator.api_key,
        "ONESCHEMA_API_URL": simulator.url,
        "EMBED_ANALYTICS_HOME": str(home),
        "EMBED_ANALYTICS_REQUEST_TIMEOUT_SECONDS": "0.4",
        "EMBED_ANALYTICS_RETRY_BUDGET_SECONDS": "8",
    }
    command = [sys.executable, "-m", "pipelines", *arguments]
    done = subprocess.run(command, env=environment, cwd=home.parent, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["api", "full"])
def test_no_credential_is_kept_or_printed(tmp_path: Path, shape: EventShape) -> None:
    home = tmp_path / "home"
    options = SimulatorOptions(embeds=40, event_shape=shape, faults=parse_faults(FAULTS), echoes=True)
    with running_simulator(options) as simulator:
        secret = credentials(simulator)
        assert len(secret) > 80
        found = simulator.admin.get("credentials").json()
        for one in (*found["api_keys"], *found["embed_tokens"][:8], *found["jwts"][:4]):
            secret |= spelled(one)
        secret |= {f"hook-{token[:8]}" for token in found["embed_tokens"]}
        printed = run(simulator, home, "refresh")
        assert "published" in printed, printed
        # Embeds that always fail, and a refused key: their errors are recorded, too.
        ids = simulator.simulation.world.ids
        simulator.throw(broken_embeds={ids[1]: "500", ids[2]: "400", ids[3]: "object"})
        printed += run(simulator, home, "reconcile")
        simulator.throw(broken_embeds={ids[1]: "403"}, broken_list="403")
        printed += run(simulator, home, "reconcile")
        simulator.throw(broken_embeds={}, broken_list=None, refused_after_requests=0)
        refused = run(simulator, home, "reconcile")
        assert "ONESCHEMA_API_KEY" in refused
        simulator.throw(refused_after_requests=None)
        printed += refused + run(simulator, home, "refresh", key="osk_another_key_that_is_wrong_81")
        secret.add("osk_another_key_that_is_wrong_81")

        texts = texts_below(home)
        # What stands beside an echo is kept.
        raw = "".join(text for path, text in texts.items() if path.suffix == ".parquet")
        assert re.search(r"page=1&embed_token=<credential removed>&theme=dark", raw)
        kinds = {path.relative_to(home).parts[0] for path in texts}
        assert {"raw", "lake", "state", "dagster", "warehouse.duckdb"} <= kinds
        assert leaks(texts, secret) == set()
        assert not any(needle in printed for needle in secret)

        # The search finds what is there: one planted in each form.
        one = next(iter(secret))
        pl.DataFrame({"a": [one] * 1000}).write_parquet(home / "raw" / "planted.parquet", compression="zstd")
        with duckdb.connect(home / "planted.duckdb") as connection:
            connection.execute("create table t as select ? as a", [one])
        planted = sqlite3.connect(home / "state" / "planted.sqlite")
        planted.execute("create table t as select ? as a", [one])
        planted.commit()
        planted.close()
        assert {path.name for path in leaks(texts_below(home), secret)} == {
            "planted.parquet",
            "planted.duckdb",
            "planted.sqlite",
        }
