"""A home of a former version is upgraded by one refresh: its tables are those that are made from raw from nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipelines import steps
from pipelines.home.code_version import code_version
from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.simulator.server import running_simulator
from tests.orchestration.dev_server import clean_environment
from tests.poll.sweeping import raw_events
from tests.scale.former_home import ACCOUNT, COMMIT, HOUR, unpack
from tests.warehouse.compare import differences
from tests.webhooks.receiving import lake_table

pytestmark = pytest.mark.scale


def test_one_refresh_upgrades_a_home(tmp_path: Path) -> None:
    home = Home(unpack(tmp_path))
    assert _meta_build(home) != [code_version()], f"{COMMIT} is this version"
    former = {path: path.read_bytes() for path in (home.root / "raw").rglob("*.parquet")}
    former_uuids = set(raw_events(home.root)["event_uuid"])
    with running_simulator(ACCOUNT) as simulator:
        simulator.advance(24 * HOUR)
        # As the message says that names another organisation: it is one account with a new address.
        owner = home.root / "home.json"
        owner.write_text(json.dumps({**json.loads(owner.read_text("utf-8")), "api_url": simulator.url}), "utf-8")
        _refresh(home, ONESCHEMA_API_URL=simulator.url, ONESCHEMA_API_KEY=simulator.api_key)
        truth = {event["uuid"] for event in simulator.truth()}
    assert _meta_build(home) == [code_version()]
    assert {path: path.read_bytes() for path in former} == former
    with duckdb.connect(home.warehouse, read_only=True) as connection:
        staged = {uuid for (uuid,) in connection.execute("select event_uuid from stg_embed_events").fetchall()}
    assert former_uuids < staged <= truth, "the account has gone on since"

    from_raw = Home(tmp_path / "from-raw")
    from_raw.root.mkdir()
    shutil.copytree(home.root / "raw", from_raw.root / "raw")
    settings = Settings.defaults(embed_analytics_home=from_raw.root)
    steps.flatten(settings, on_wait=pytest.fail)
    steps.publish(settings, on_wait=pytest.fail)
    assert differences(home, from_raw) == {}
    for table in ("embed_events", "validation_errors"):
        assert lake_table(home.root, table).equals(lake_table(from_raw.root, table))


def _meta_build(home: Home) -> list[str]:
    """The version of the code that made each build that the published file tells of."""
    with duckdb.connect(home.warehouse, read_only=True) as connection:
        return [version for (version,) in connection.execute("select code_version from meta_build").fetchall()]


def _refresh(home: Home, **settings: str) -> None:
    """`embed-analytics refresh`; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "refresh"],
        env={**clean_environment(), "EMBED_ANALYTICS_HOME": str(home.root), **settings},
        cwd=home.root.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
