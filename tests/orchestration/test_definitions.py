"""Definitions are made of the settings they are given: importing reads none, and two sets stand side by side."""

import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.warehouse import model_key
from pipelines.definitions import build_definitions
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.settings import Settings
from pipelines.simulator.server import RunningSimulator
from pipelines.terminal.runs import run_job
from pipelines.warehouse.models import load_models
from pipelines.warehouse.published import connect_published
from tests.orchestration.conftest import LAST_DAY

LAKE = dg.AssetKey(["lake", "embed_events"])
FCT_EMBEDS = dg.AssetKey(["warehouse", "fct_embeds"])

# No module can be loaded with one of these, if it asks for settings.
UNUSABLE = {"ONESCHEMA_REGION": "mars", "EMBED_ANALYTICS_CLAIM_TYPES": '{"', "EMBED_ANALYTICS_REFRESH_CRON": "hourly"}


def _python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env={**os.environ, **UNUSABLE}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_importing_every_module_reads_no_settings(tmp_path: Path) -> None:
    code = """
import importlib, pkgutil, sys, assets, pipelines
for package in (pipelines, assets):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from assets.warehouse import model_key
from pipelines.definitions import build_definitions
from pipelines.errors import ConfigurationError
try:
    from pipelines.definitions import defs
except ConfigurationError as error:
    print(error)
"""
    (tmp_path / ".env").write_text("EMBED_ANALYTICS_CONCURRENCY=none\n", encoding="utf-8")
    # Whoever asks for the environment's definitions is told what is wrong with it.
    assert "EMBED_ANALYTICS_CLAIM_TYPES" in _python(code, tmp_path)


def test_the_environments_definitions_are_made_once_and_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import definitions

    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(vars(definitions), "defs", raising=False)
    monkeypatch.setenv("EMBED_ANALYTICS_REFRESH_CRON", "5 5 * * *")
    assert "defs" in dir(definitions)
    defs = definitions.defs
    assert isinstance(defs, dg.Definitions)
    assert definitions.defs is defs
    assert defs.get_repository_def().get_schedule_def("refresh_schedule").cron_schedule == "5 5 * * *"
    with pytest.raises(AttributeError, match="other"):
        _ = definitions.other
    monkeypatch.delitem(vars(definitions), "defs")


@pytest.mark.slow
def test_two_sets_of_definitions_in_one_process_keep_to_their_own_settings(
    settings: Settings, simulator: RunningSimulator, tmp_path: Path
) -> None:
    """Each has its home, its start, its schedule, its version of the lake; and each run goes by its own."""
    others = settings.model_copy(
        update={
            "embed_analytics_home": tmp_path / "others",
            "embed_analytics_refresh_cron": "30 6 * * *",
            "embed_analytics_start_date": LAST_DAY - timedelta(days=2),
            "embed_analytics_claim_column_limit": 1,
            "embed_analytics_funnel_window_days": 2.0,
        }
    )
    made = [build_definitions(each) for each in (settings, others)]
    for each, definitions in zip((settings, others), made, strict=True):
        repository = definitions.get_repository_def()
        schedule = repository.get_schedule_def("refresh_schedule")
        assert schedule.cron_schedule == each.embed_analytics_refresh_cron
        partitions = repository.asset_graph.get(LAKE).partitions_def
        assert partitions is not None
        assert partitions.get_first_partition_key() == str(each.embed_analytics_start_date or datetime.now(UTC).date())
    versions = [
        [definitions.get_repository_def().asset_graph.get(key).code_version for key in (LAKE, FCT_EMBEDS)]
        for definitions in made
    ]
    assert all(first != second for first, second in zip(*versions, strict=True))

    for each in (settings, others):
        run_job(each, "refresh", run_config("refresh"), partition_range(LAST_DAY, LAST_DAY))

    found = [_claim_columns(settings), _claim_columns(others)]
    # The user's id always is one.
    assert len(found[0]) > 2
    assert len(found[1]) <= 2
    windows = [_funnel_window_seconds(settings), _funnel_window_seconds(others)]
    assert windows == [7 * 86400, 2 * 86400]


def _claim_columns(settings: Settings) -> list[str]:
    with connect_published(settings.home) as connection:
        columns = connection.execute("from stg_embed_events limit 0").description or []
    return [name for name, *_ in columns if name.startswith("claim_")]


def _funnel_window_seconds(settings: Settings) -> float:
    with connect_published(settings.home) as connection:
        (seconds,) = connection.execute("select funnel_window_seconds from meta_build").fetchone() or (None,)
    assert seconds is not None
    return seconds


def test_every_asset_says_who_answers_for_it_how_fresh_it_should_be_and_where_its_code_is() -> None:
    owner = "data@example.com"
    graph = build_definitions(Settings.defaults(embed_analytics_owner=owner)).get_repository_def().asset_graph
    for node in graph.asset_nodes:
        assert node.owners == [owner]
        assert node.tags["layer"] == node.key.path[0]
        assert node.freshness_policy is not None, node.key
        references = node.metadata["dagster/code_references"].code_references
        assert references
        assert all(Path(reference.file_path).is_file() for reference in references)


def test_a_models_description_says_what_it_is_once_and_how_it_is_made() -> None:
    graph = build_definitions(Settings.defaults()).get_repository_def().asset_graph
    for model in load_models():
        prose, _, sql = (graph.get(model_key(model.name)).description or "").partition("\n\n```sql\n")
        assert prose == model.description
        # All but the comment above the SELECT, of which the prose was read.
        above, statement, behind = model.sql.partition(sql.removesuffix("```").strip())
        assert statement
        assert all(line.startswith("--") for line in above.splitlines())
        assert behind.strip() == ""


def test_dg_finds_the_definitions_and_nothing_overrides_the_workspace() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "dg.toml").read_text(encoding="utf-8"))
    assert project["project"]["code_location_target_module"] == build_definitions.__module__
    assert (root / project["project"]["root_module"]).is_dir()
    assert not {"dagster", "dg"} & tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"].keys()


# Each takes a tenth of a second or more, in every process that Dagster starts.
HEAVY = ["duckdb", "matplotlib", "numpy", "pandas", "polars", "pyarrow", "sqlglot"]


@pytest.mark.slow
def test_definitions_load_without_what_only_runs_use(tmp_path: Path) -> None:
    code = f"""
import sys
from pipelines.definitions import defs
defs.get_repository_def()
print([name for name in {HEAVY} if name in sys.modules])
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    printed = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True).stdout
        for _ in range(2)
    ]
    # The first finds what follows from the code, and keeps it for the second.
    assert "sqlglot" in printed[0]
    assert printed[1].strip() == "[]"
