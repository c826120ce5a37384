"""`make dev` and the command line read the same settings from the same places."""

import os
from pathlib import Path

import pytest

from pipelines.settings import Settings
from pipelines.terminal.dev import dev_environment, run_dagster_dev

DOTENV = """
ONESCHEMA_API_KEY=
oneschema_region=eu
ONESCHEMA_ENVIRONMENT=Staging
EMBED_ANALYTICS_HOME=of-the-file
EMBED_ANALYTICS_DAGSTER_URL=https://dagster.example
ANOTHER_PROGRAMS=value
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a `.env`, and an environment that says otherwise in part."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ONESCHEMA_API_KEY", "of the environment")
    monkeypatch.setenv("ONESCHEMA_ENVIRONMENT", "")
    (tmp_path / ".env").write_text(DOTENV, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_wins_over_dotenv_and_empty_values_are_missing(folder: Path) -> None:
    environment = dev_environment("127.0.0.1", 3000)

    assert environment["ONESCHEMA_API_KEY"] == "of the environment"
    assert environment["ONESCHEMA_REGION"] == "eu"
    assert environment["ONESCHEMA_ENVIRONMENT"] == "Staging"
    assert environment["EMBED_ANALYTICS_DAGSTER_URL"] == "https://dagster.example"
    assert environment["EMBED_ANALYTICS_HOME"] == str(folder / "of-the-file")
    assert environment["DAGSTER_HOME"] == str(folder / "of-the-file" / "dagster")
    assert "ANOTHER_PROGRAMS" not in environment


def test_links_lead_to_this_dagster_when_no_setting_says_otherwise(folder: Path) -> None:
    (folder / ".env").unlink()

    assert dev_environment("127.0.0.1", 3001)["EMBED_ANALYTICS_DAGSTER_URL"] == "http://127.0.0.1:3001"


def test_dagster_starts_where_it_finds_no_dotenv(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_in: list[Path] = []
    monkeypatch.setattr(os, "execve", lambda *_: started_in.append(Path.cwd()))

    run_dagster_dev("127.0.0.1", 3000)

    (cwd,) = started_in
    assert not (cwd / ".env").exists()
