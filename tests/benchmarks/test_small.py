"""A small version of every benchmark runs, with every contestant in it; the page is put where it belongs."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import BEGIN, END, QUESTIONS, section
from benchmarks.contest import Contestant, run_once
from pipelines.warehouse.macros import macro_files

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")

# Rows of each question's tables: nobody is left out.
ROWS = {
    "flatten": [5],
    "first_backfill": [3],
    "steady_hour": [2],
    "warehouse": [2, 3],
    "dagster": [6],
    "queries": [6, 1, 12, 4],
    # Each macro twice, and a model.
    "analysis": [2 * len(macro_files()) + 1],
    "page": [2],
    "pack": [2],
    "webhooks": [2],
    "time_spent": [12, 12, 12],
    "growth": [10],
    "sizing": [4, 4],
    "chain": [3],
    "verify": [1],
    "encryption": [2, 2],
    "counts": [12],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_small_version_runs(name: str) -> None:
    module = import_module(f"benchmarks.{name}")
    found = module.answer(**module.SMALL)
    assert [len(table) - 1 for table in found.tables] == ROWS[name]
    assert all(float(row[1].replace(",", "")) >= 0 for table in found.tables for row in table[1:])
    assert all(verdict.is_met for verdict in found.verdicts if "lost" in verdict.figure)
    assert QUESTIONS[name] in "\n".join(section(name, found))


@pytest.mark.slow
def test_the_page_is_printed_and_put_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nan older run\n{END}\nbehind\n", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks", "flatten", "--small", "--page", str(page)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nbehind\n")
    assert "an older run" not in text
    row = next(line for line in printed.splitlines() if "peak memory" in line)
    assert row in text


def test_a_question_that_there_is_not_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks", "flaten"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no question flaten" in done.stderr


def test_a_contestant_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"No module named .benchmarks\.nobody"):
        run_once(Contestant("nobody", "benchmarks.nobody:work"))


def test_the_readme_shows_lines_of_the_page() -> None:
    shown = [line for line in README.splitlines() if line.startswith("| ") and line.endswith(("met |", "missed** |"))]
    assert len(shown) == 5
    assert [line for line in shown if " ".join(line.split()) not in " ".join(PAGE.split())] == []
