"""What a refresh that finds nothing costs, counted and not timed. A limit is raised together with the reason why."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.simulator.server import RunningSimulator

# Dagster opens runs.db five times to make its tables, and the run's own file and the index twice; our look for damage
# opens those that changed. None of it grows with the runs before.
SQLITE_CONNECTIONS = 20

# Passes over young and middle-aged objects; Python's own thresholds make several hundred.
GARBAGE_COLLECTIONS = 150

# Imports that take longer than what an empty refresh would do with them.
UNUSED = ["matplotlib", "numpy", "pandas", "pyarrow", "sqlglot", "vl_convert"]

CODE = f"""
import gc, json, sys
connections = []
sys.addaudithook(lambda event, arguments: event == "sqlite3.connect" and connections.append(str(arguments[0])))
sys.argv = ["embed-analytics", "refresh"]
from pipelines.terminal.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
told = {{
    "connections": connections,
    "collections": sum(generation["collections"] for generation in gc.get_stats()),
    "unused": [name for name in {UNUSED} if name in sys.modules],
}}
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_refresh_that_finds_nothing_costs_what_it_should(tmp_path: Path, simulator: RunningSimulator) -> None:
    environment = {
        **os.environ,
        "EMBED_ANALYTICS_HOME": str(tmp_path / "home"),
        "ONESCHEMA_API_URL": simulator.url,
        "ONESCHEMA_API_KEY": simulator.api_key,
        "XDG_CACHE_HOME": str(tmp_path),
    }

    def refresh() -> dict[str, Any]:
        command = [sys.executable, "-c", CODE]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    first, second, third = (refresh() for _ in range(3))
    assert "sqlglot" in first["unused"]
    for told in (second, third):
        assert told["unused"] == []
        assert len(told["connections"]) <= SQLITE_CONNECTIONS, told["connections"]
        assert told["collections"] <= GARBAGE_COLLECTIONS
    # Each run has a file of its own: of the earlier runs, only the last is looked at.
    assert len(third["connections"]) <= len(second["connections"])
