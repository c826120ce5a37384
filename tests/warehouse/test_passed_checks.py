"""A refresh looks at all rows with every check but those that passed over all of them before, as they are now."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.settings import Settings
from pipelines.warehouse import build as build_module
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildCheckFailedError, BuildReport
from pipelines.warehouse.check_files import read_check
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.models import load_models
from pipelines.warehouse.sql_errors import ModelFailedError
from pipelines.warehouse.statements import version_of
from tests.warehouse.lake import Lake, at, event

pytestmark = pytest.mark.slow

OPTIONS = BuildOptions(code_version="test")

CHECK = """-- No session has two events.
-- table: fct_embeds
-- severity: error
-- scope: embed_id
select embed_id, event_count
from fct_embeds
where event_count >= {most}
"""

AddCheck = Callable[[str], None]


@pytest.fixture
def add_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddCheck:
    """Puts a check `short` beside those that there are, or another text in its place."""

    def add(text: str) -> None:
        file = tmp_path / "short.sql"
        file.write_text(text)
        checks = [*load_checks(), read_check(file)]
        monkeypatch.setattr(build_module, "load_checks", lambda: checks)

    return add


def sessions(lake: Lake) -> None:
    """Session 1 has two events and does not change any more, 2 has one."""
    lake.write([event("a", 1, "embed_initialized", at(0)), event("b", 1, "embed_closed", at(1))])
    lake.write([event("c", 2, "embed_closed", at(60 * 24))])
    lake.sweep(at(60 * 25))


def look(lake: Lake, options: BuildOptions = OPTIONS, *, check_everything: bool = False) -> tuple[bool, bool]:
    """Whether the check `short` looked at every row, and whether it passed."""
    try:
        report = build(lake.home, options, check_everything=check_everything)
    except BuildCheckFailedError as error:
        report = error.report
    return looked(report)["short"]


def looked(report: BuildReport) -> dict[str, tuple[bool, bool]]:
    return {check.name: (check.is_whole, check.passed) for check in report.checks}


def test_a_new_check_looks_at_all_rows_until_it_passes_and_then_at_what_changed(
    lake: Lake, add_check: AddCheck
) -> None:
    sessions(lake)
    build(lake.home, OPTIONS)
    published = lake.home.warehouse.read_bytes()
    add_check(CHECK.format(most=2))
    # Refresh, reconcile, refresh: it is red until the rows are mended.
    assert [look(lake), look(lake, check_everything=True), look(lake)] == [(True, False)] * 3
    assert lake.home.warehouse.read_bytes() == published
    lake.write([event("a", 1, "embed_initialized", at(0))])
    assert look(lake) == (True, True)
    assert look(lake) == (False, True)


def test_what_passed_at_a_refresh_and_failed_at_a_reconcile_stays_red(
    lake: Lake, add_check: AddCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions(lake)
    add_check(CHECK.format(most=3))
    assert look(lake) == (True, True)
    run_checks = build_module.run_checks

    # A row that turned bad and that no refresh counts as changed.
    def tampered(*arguments: object, **options: object) -> object:
        arguments[0].execute("update fct_embeds set event_count = 9 where embed_id = 1")  # type: ignore[attr-defined]
        return run_checks(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(build_module, "run_checks", tampered)
    assert look(lake) == (False, True)
    assert look(lake, check_everything=True) == (True, False)
    assert look(lake) == (True, False)
    monkeypatch.setattr(build_module, "run_checks", run_checks)
    assert [look(lake), look(lake)] == [(True, True), (False, True)]


def test_a_changed_statement_looks_at_all_rows_and_a_comment_does_not(lake: Lake, add_check: AddCheck) -> None:
    sessions(lake)
    add_check(CHECK.format(most=3))
    assert [look(lake), look(lake)] == [(True, True), (False, True)]
    add_check(CHECK.format(most=3).replace("-- No session", "-- Said otherwise: no session"))
    assert look(lake) == (False, True)
    add_check(CHECK.format(most=2))
    assert look(lake) == (True, False)


def test_a_changed_setting_looks_at_all_rows(lake: Lake, add_check: AddCheck) -> None:
    sessions(lake)
    add_check(
        CHECK.format(most=3) + "    or seconds_to_submit > epoch((select funnel_window from source.parameters))\n"
    )
    assert [look(lake), look(lake)] == [(True, True), (False, True)]
    for setting, is_whole in (
        ("embed_analytics_funnel_window_days", True),
        ("embed_analytics_settle_after_days", False),
    ):
        options = replace(OPTIONS, settings=Settings.defaults(**{setting: 3}))
        assert look(lake, options) == (is_whole, True)
        look(lake)


def test_a_model_that_was_made_anew_is_looked_at_whole(
    lake: Lake, add_check: AddCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions(lake)
    add_check(CHECK.format(most=3))
    assert [look(lake), look(lake)] == [(True, True), (False, True)]

    def doubled(sql: str) -> str:
        return sql.replace("facts.event_count, --", "2 * facts.event_count as event_count, --")

    models = [replace(model, sql=doubled(model.sql)) for model in load_models()]
    models = [replace(model, code_version=version_of(model.sql)) for model in models]
    monkeypatch.setattr(build_module, "load_models", lambda: models)
    assert look(lake) == (True, False)


def test_a_check_that_could_not_run_looks_at_all_rows(lake: Lake, add_check: AddCheck) -> None:
    sessions(lake)
    # It cannot run while a session has two events.
    text = CHECK.format(most=3) + "    or if(event_count = 2, error('cannot say'), false)\n"
    lake.write([event("a", 1, "embed_initialized", at(0))])
    add_check(text)
    assert [look(lake), look(lake)] == [(True, True), (False, True)]
    sessions(lake)
    with pytest.raises(ModelFailedError, match="sql/checks/short"):
        build(lake.home, OPTIONS)
    lake.write([event("a", 1, "embed_initialized", at(0))])
    assert look(lake) == (True, True)


@pytest.mark.parametrize("loss", ["gone", "not JSON", "of another build"])
def test_without_what_was_noted_every_check_looks_at_all_rows(lake: Lake, loss: str) -> None:
    sessions(lake)
    build(lake.home, OPTIONS)
    noted = lake.home.state / "checks.json"
    before = noted.read_text()
    if loss == "gone":
        noted.unlink()
    elif loss == "not JSON":
        noted.write_text("{")
    report = build(lake.home, OPTIONS)
    if loss == "of another build":
        noted.write_text(before)
        report = build(lake.home, OPTIONS)
    assert not report.is_full
    assert {is_whole for is_whole, _ in looked(report).values()} == {True}


@pytest.mark.parametrize(("full_refresh", "check_everything"), [(True, False), (False, True)])
def test_a_full_refresh_and_a_reconcile_end_with_every_check_over_every_row(
    lake: Lake, *, full_refresh: bool, check_everything: bool
) -> None:
    sessions(lake)
    build(lake.home, OPTIONS)
    narrowed = {name for name, (is_whole, _) in looked(build(lake.home, OPTIONS)).items() if not is_whole}
    assert narrowed == {check.name for check in load_checks() if check.scope != "whole"}
    report = build(lake.home, OPTIONS, full_refresh=full_refresh, check_everything=check_everything)
    assert {is_whole for is_whole, _ in looked(report).values()} == {True}
