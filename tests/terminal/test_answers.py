"""How `embed-analytics query` prints an answer: to a terminal, to a pipe, for a program, for a spreadsheet."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home
from pipelines.terminal.query import run_query
from pipelines.warehouse.build import BuildOptions, build

HOSTILE = r"""e'\x1b[31mred\x07\r' || chr(8238) || chr(155)"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("answers"))
    build(home, BuildOptions())
    return home


def test_cells_and_names_are_not_taken_for_markup(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run_query(home, """select '[red]x' as "[bold]a", '[/]' as b, ':smile:' as c""", "table", 10)
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["[bold]a", "b", "c"]
    assert row.split() == ["[red]x", "[/]", ":smile:"]


def test_a_terminal_is_given_nothing_to_obey(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    sql = r"""select e'\x1b[31mred\x07\r' || chr(8238) as "a\tb", 'naïve 数' as plain, e'two\nlines' as long"""
    run_query(home, sql, "table", 10)
    shown = capsys.readouterr().out
    assert r"\x1b[31mred\x07\r\u202e" in shown
    assert "naïve 数" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_json_has_every_column_and_every_type(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select 1 as a, 2 as a, 3 as a, map {1: 2} as m, 170141183460469231731687303715884105727 as h, 'x'::blob as b"
    run_query(home, sql, "json", 10)
    row = {"a": 1, "a_1": 2, "a_2": 3, "m": {"1": 2}, "h": str(2**127 - 1), "b": "b'x'"}
    assert json.loads(capsys.readouterr().out) == [row]
    run_query(home, sql, "jsonl", 10)
    assert json.loads(capsys.readouterr().out) == row


def test_json_is_an_array_and_jsonl_has_an_object_a_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    # More than are fetched at a time.
    sql = "select i, 'x' as s from range(25000) t(i)"
    expected = [{"i": i, "s": "x"} for i in range(25_000)]
    run_query(home, sql, "json", 10)
    assert json.loads(capsys.readouterr().out) == expected
    run_query(home, sql, "jsonl", 10)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == expected
    run_query(home, "select 1 as a where false", "json", 10)
    assert capsys.readouterr().out == "[]\n"
    run_query(home, "select 1 as a where false", "jsonl", 10)
    assert capsys.readouterr().out == ""


def test_json_is_printable_and_says_the_same(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run_query(home, f"select {HOSTILE} || e'😀\\n\u2028' as a", "jsonl", 10)
    (line,) = capsys.readouterr().out.split("\n")[:-1]
    assert line.isprintable()
    assert json.loads(line) == {"a": "\x1b[31mred\x07\r\u202e\x9b😀\n\u2028"}


def test_a_line_per_value(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run_query(home, f"select 1 as a, {HOSTILE} as longer, null as n from range(2)", "line", 10)
    one = "     a = 1\nlonger = \\x1b[31mred\\x07\\r\\u202e\\x9b\n     n = NULL\n"
    assert capsys.readouterr().out == f"{one}\n{one}"


def test_csv_for_a_spreadsheet_has_no_formula(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    sql = """
        select unnest(['=1+1', '+1', '-1', '@x', e'\t=1', 'a=1', null]) as "=name", -1 as number, date '2026-01-02' as d
    """
    run_query(home, sql, "csv", 10, for_spreadsheets=True)
    first, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert first == ["'=name", "number", "d"]
    assert [row[0] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", "a=1", ""]
    assert {(row[1], row[2]) for row in rows} == {("-1", "2026-01-02")}
    # Other programs are given what is held.
    run_query(home, sql, "csv", 10)
    assert [row[0] for row in csv.reader(io.StringIO(capsys.readouterr().out))][:2] == ["=name", "=1+1"]
    with pytest.raises(ConfigurationError, match="--for-spreadsheets goes with --format csv"):
        run_query(home, sql, "table", 10, for_spreadsheets=True)


def on_a_terminal(home: Home, *arguments: str, columns: int = 100) -> str:
    """What `embed-analytics query` shows on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "query", *arguments],
        env=environment | {"EMBED_ANALYTICS_HOME": str(home.root)},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.STDOUT,
        cwd=home.root,
    )
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            # Linux says so when the other end is closed.
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_is_shown_the_columns_that_fit(home: Home) -> None:
    shown = on_a_terminal(home, "from (select 1 as one) left join fct_embeds on true")
    assert re.search(r"\d\d columns \(\d shown\)", shown), shown
    assert max(map(len, shown.splitlines())) <= 100
    shown = on_a_terminal(home, "select range as n from range(30); select 2 as b", "--limit", "4")
    assert "30 rows" in shown
    assert "(4 shown)" in shown
    # The first, the last, and the second answer.
    assert [int(n) for n in re.findall(r"│ +(\d+) +│", shown)] == [0, 1, 28, 29, 2]


@pytest.mark.parametrize("output", ["table", "line", "csv", "json", "jsonl"])
def test_a_terminal_obeys_nothing_that_an_answer_holds(home: Home, output: str) -> None:
    shown = on_a_terminal(home, f"""select {HOSTILE} as "a\x1bb\u202e" """, "--format", output)
    assert "[31mred" in shown
    assert all(character.isprintable() or character == "\n" for character in shown), repr(shown)


def test_a_plan_is_shown_as_it_is(home: Home) -> None:
    assert "explain_key" not in (shown := on_a_terminal(home, "explain from range(3)"))
    assert "range" in shown.lower()


@pytest.mark.slow
@pytest.mark.parametrize("output", ["table", "line", "csv", "json", "jsonl"])
def test_a_pipe_that_is_closed_ends_it_quietly(home: Home, output: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "query", "from range(50000)", "--format", output, "--limit", "20000"],
        env=os.environ | {"EMBED_ANALYTICS_HOME": str(home.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home.root,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert said == b""
