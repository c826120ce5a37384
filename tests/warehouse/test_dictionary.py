"""The data dictionary page is what the models' comments say."""

from pathlib import Path

import pytest

from pipelines.warehouse import dictionary
from pipelines.warehouse.models import load_models


def test_the_page_is_not_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert dictionary.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dictionary, "PAGE", tmp_path / "dictionary.md")
    assert dictionary.main(["--check"]) == 1
    assert "make dictionary" in capsys.readouterr().err
    assert dictionary.main([]) == 0
    assert dictionary.main(["--check"]) == 0


def test_every_table_and_column_is_on_it() -> None:
    page = dictionary.render()
    for model in load_models():
        assert f"## {model.name}\n" in page
        assert all(f"| `{column}` |" in page for column in model.columns)
    assert "mode := 'ordered'" in page
