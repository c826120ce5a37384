"""A published file that is damaged or of an older version: one message, which names the file and the way out."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from pipelines.errors import PermanentError
from pipelines.report.page import write_page
from pipelines.settings import Settings
from pipelines.terminal.cli import app
from tests.report.account import settings
from tests.warehouse.lake import Lake


@pytest.fixture
def copied(account: Lake, tmp_path: Path) -> Settings:
    """The account's settings, in a home that has a copy of its warehouse."""
    root = tmp_path / "home"
    root.mkdir(mode=0o700)
    shutil.copy(account.home.warehouse, root)
    return settings(account).model_copy(update={"embed_analytics_home": root})


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_blocks(path: Path) -> None:
    """Its headers are whole, and nothing else is."""
    held = path.read_bytes()
    path.write_bytes(held[: 3 * 4096] + bytes(255 - byte for byte in held[3 * 4096 :]))


@pytest.mark.parametrize("damage", [garbage, nothing, half, other_blocks])
def test_a_damaged_file_is_named(copied: Settings, damage: Callable[[Path], None]) -> None:
    damage(copied.home.warehouse)
    with pytest.raises(PermanentError) as refused:
        write_page(copied, with_people=True)
    assert str(copied.home.warehouse) in str(refused.value)
    assert "cannot be read" in str(refused.value)
    assert "`embed-analytics publish`" in str(refused.value)
    assert not copied.home.report_with_people.exists()


@pytest.mark.parametrize(
    "change",
    [
        "drop view rpt_metrics",
        "drop table meta_build",
        "drop table rpt_customers",
        "drop table rpt_stuck_embeds",
        "drop view rpt_embed_timeline",
        "alter table rpt_stuck_embeds drop column priority",
    ],
)
def test_an_older_version_is_named(copied: Settings, change: str) -> None:
    with duckdb.connect(copied.home.warehouse) as connection:
        connection.execute(change)
    with pytest.raises(PermanentError) as refused:
        write_page(copied, with_people=True)
    assert str(copied.home.warehouse) in str(refused.value)
    assert "was published by another version" in str(refused.value)
    assert "`embed-analytics publish`" in str(refused.value)


def test_the_command_line_says_it_in_one_line(copied: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    garbage(copied.home.warehouse)
    monkeypatch.setenv("EMBED_ANALYTICS_HOME", str(copied.home.root))
    failed = CliRunner().invoke(app, ["report", "--with-people"])
    assert isinstance(failed.exception, PermanentError)
    assert len(str(failed.exception).splitlines()) == 1
