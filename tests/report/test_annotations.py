"""annotations.csv is written by hand, so what is wrong in it is named by its line."""

import sys
from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import ConfigurationError, WarehouseMissingError
from pipelines.report.annotations import Annotation, read_annotations
from pipelines.report.page import write_page
from pipelines.settings import Settings
from tests.report.account import settings
from tests.warehouse.lake import Lake


def read(tmp_path: Path, text: str) -> list[Annotation]:
    path = tmp_path / "annotations.csv"
    path.write_text(text, encoding="utf-8")
    return read_annotations(path)


def test_lines_are_read_by_their_date(tmp_path: Path) -> None:
    assert read_annotations(tmp_path / "annotations.csv") == []
    text = '\ufeffdate,text,template\r\n2026-03-02,"b, c",products\r\n2026-03-01, a ,\r\n'
    assert read(tmp_path, text) == [
        Annotation(date(2026, 3, 1), "a", None),
        Annotation(date(2026, 3, 2), "b, c", "products"),
    ]
    assert read(tmp_path, "text,date\nx,2026-03-01\n") == [Annotation(date(2026, 3, 1), "x", None)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must begin with the line `date,text,template`"),
        ("day,text\n", "must begin with the line"),
        ("date,text,who\n", "must begin with the line"),
        ("date,text\n01.03.2026,x\n", "line 2: '01.03.2026' is not a date like 2026-01-31"),
        ("date,text\n2026-03-01,x\n,y\n", "line 3: '' is not a date"),
        ("date,text\n2026-03-01, \n", "line 2: write a date, a text"),
        ("date,text\n2026-03-01\n", "line 2: write a date, a text"),
        ("date,text\n2026-03-01,a,b\n", "A text with a comma stands in quotes"),
        (f"date,text\n2026-03-01,{'x' * 201}\n", "at most 200 characters"),
        (f"date,text\n2026-03-01,{'x' * 200_000}\n", "field larger than field limit"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, text)
    assert told in str(refused.value)
    assert str(tmp_path / "annotations.csv") in str(refused.value)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "annotations.csv").write_bytes("date,text\n2026-03-01,é\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        read_annotations(tmp_path / "annotations.csv")


def test_without_a_warehouse_or_the_extra_the_way_out_is_named(
    account: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WarehouseMissingError, match="embed-analytics refresh"):
        write_page(Settings.defaults(embed_analytics_home=tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigurationError, match=r"embed-analytics\[report\]"):
        write_page(settings(account), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
