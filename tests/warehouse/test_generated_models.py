"""Any model that keeps to its kind: kept up run by run, it equals one that is built from nothing."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random

import pytest

from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse import build as build_module
from pipelines.warehouse import models as models_module
from pipelines.warehouse import sources
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.kinds import KINDS
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import SQL, load_models
from tests.proving import seeds
from tests.warehouse.compare import differences
from tests.warehouse.generated_models import ModelMaker
from tests.warehouse.lake import Lake, at, event
from tests.warehouse.varied_lake import VariedLake

OPTIONS = BuildOptions(Settings.defaults(embed_analytics_funnel_window_days=1), "test")
BATCHES = 6


def write_models(folder: Path, seed: int, texts: Mapping[str, str] | None = None) -> list[Model]:
    """The models of sql/, and these or generated ones."""
    folder.mkdir()
    for path in SQL.glob("*.sql"):
        shutil.copy(path, folder)
    for name, text in (texts or dict(ModelMaker(Random(seed)).draw())).items():
        (folder / f"{name}.sql").write_text(text, encoding="utf-8")
    return load_models(folder)


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(4))
def test_incremental_equals_full(
    new_lake: Callable[[Path], Lake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    lake = new_lake(tmp_path / "kept")
    varied = VariedLake(lake, random)
    # Sources that vary in every column break what checks say of them: the models are what is tested.
    monkeypatch.setattr(build_module, "load_checks", list)
    use(monkeypatch, write_models(tmp_path / "sql", seed))
    refreshed = 0
    for number in range(BATCHES):
        varied.batch()
        if number == BATCHES // 2:
            # Other models of the same names.
            use(monkeypatch, write_models(tmp_path / "sql-2", seed + 1_000_000))
        refreshed += not build(lake.home, OPTIONS).is_full
        if number % 2:
            full = rebuilt(lake, tmp_path / f"full-{number}", monkeypatch)
            assert differences(lake.home, full) == {}, f"after batch {number}"
    assert refreshed >= BATCHES // 2


def use(monkeypatch: pytest.MonkeyPatch, models: Sequence[Model]) -> None:
    for module in (models_module, build_module):
        monkeypatch.setattr(module, "load_models", lambda: list(models))


def _few(limit: int) -> int:
    del limit
    return 15


def rebuilt(lake: Lake, root: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    shutil.copytree(lake.home.root, root, ignore=shutil.ignore_patterns("warehouse*"))
    with monkeypatch.context() as patch:
        frames = lake.catalogues(lake.home)
        patch.setattr(sources, "read_catalogues", partial(_same, frames))
        # In ranges of embeds, as a large account's: that makes no difference either.
        patch.setattr(build_module, "rows_at_once", _few)
        assert build(Home(root), OPTIONS).is_full
    return Home(root)


WHOLE = """-- Sessions, as of now.
-- refresh: whole
select
    embed_id, -- the session
    (select data_through from source.parameters) as now_at, -- now
from stg_embed_events
group by embed_id
"""
BY_SESSION = """-- Sessions, as the other table has them.
-- refresh: embed_id
select
    embed_id, -- the session
    max(now_at) as now_at, -- now
from g0
group by embed_id
"""


@pytest.mark.slow
def test_what_time_changes_in_a_whole_table_reaches_those_that_read_it_by_session(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = write_models(tmp_path / "sql", 0, {"g0": WHOLE, "g1": BY_SESSION})
    use(monkeypatch, models)
    lake.write([event(f"e{number}", number, "embed_closed", at(0)) for number in range(3)])
    for hours in (1, 2):
        lake.sweep(at(60 * hours))
        build(lake.home, OPTIONS)
    assert differences(lake.home, rebuilt(lake, tmp_path / "full", monkeypatch)) == {}


def _same(frames: object, _: Home) -> object:
    return frames


@pytest.mark.slow
def test_every_kind_is_drawn(tmp_path: Path) -> None:
    drawn = [model for seed in range(20) for model in write_models(tmp_path / str(seed), seed)]
    generated = [model for model in drawn if model.name.startswith("g")]
    assert {model.refresh for model in generated} == KINDS.keys()
    assert {moment.parameter for model in generated for moment in model.moments} == {"data_through", "plausible_until"}
