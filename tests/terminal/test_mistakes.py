"""What a user can get wrong ends in one line that names the file or setting, and in exit code 1: no traceback.

The SQL is got wrong in a copy of the program, since sql/ is part of it.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terminal.test_cli import fails, run

ROOT = Path(__file__).parents[2]


def _not_utf8(path: Path) -> None:
    path.write_bytes(b"ONESCHEMA_API_KEY=\xff\xe9")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_not_utf8, ["is not UTF-8"]),
        (Path.mkdir, ["is a folder"]),
    ],
    ids=["not-utf8", "folder"],
)
@pytest.mark.parametrize("command", [["refresh"], ["query", "select 1"], ["publish"], ["serve-webhooks"], ["dev"]])
def test_an_env_file_that_cannot_be_read(
    tmp_path: Path, make: Callable[[Path], None], words: list[str], command: list[str]
) -> None:
    make(tmp_path / ".env")
    done = run(tmp_path, *command)
    fails(done, str(tmp_path / ".env"), *words)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_env_file_that_this_user_may_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").touch(mode=0)
    fails(run(tmp_path, "query", "select 1"), str(tmp_path / ".env"), "Permission denied")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["publish"], ["dev", "--port", "3999"], ["serve-webhooks"]])
@pytest.mark.parametrize("home", ["file", "file/below", "/proc/nowhere"])
def test_a_home_that_cannot_be_made(tmp_path: Path, command: list[str], home: str) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path, *command, EMBED_ANALYTICS_HOME=home, EMBED_ANALYTICS_WEBHOOK_SECRETS="s")
    fails(done, str(tmp_path / home), "cannot be written to")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["simulate", "serve-webhooks", "dev"])
def test_a_port_in_use(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(tmp_path, command, "--port", str(port), EMBED_ANALYTICS_WEBHOOK_SECRETS="s")
    fails(done, f"127.0.0.1:{port}", "Address already in use", "--port")
    assert len(done.stderr.splitlines()) == 1


MODEL = "-- A model.\n-- refresh: whole\nselect\n    {}\nfrom fct_embeds\n"
CHECK = "-- A check.\n-- table: fct_embeds\n-- severity: warn\n{}\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program."""
    folder = tmp_path_factory.mktemp("program")
    for name in ("pipelines", "assets", "sql"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def publish(program: Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {"EMBED_ANALYTICS_HOME": str(home), "PYTHONPATH": str(program), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pipelines", "publish"]
    return subprocess.run(
        command, env=environment, cwd=program, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"m1.sql": MODEL.format("nope, -- n")}, ["sql/m1.sql, line 4:", '"nope" not found', "Next: correct the file"]),
        ({"m1.sql": MODEL.format("count(* as n, -- n")}, ["sql/m1.sql cannot be read:", "Line 4"]),
        (
            {"m1.sql": MODEL.format("'nope'::int as n, -- n").replace("fct_embeds", "range(1)")},
            ["sql/m1.sql, line 4:", "Could not convert", "Next:"],
        ),
        ({"m1.sql": MODEL.format("embed_id, -- n") + "; select 1"}, ["sql/m1.sql is not one SELECT"]),
        ({"m1.sql": "-- A model.\n-- refresh: whole\ndrop table fct_embeds"}, ["sql/m1.sql is not one SELECT"]),
        ({"m1.sql": "-- Nothing.\n"}, ["sql/m1.sql is not one SELECT"]),
        ({"m1.sql": MODEL.format("embed_id, -- \udcff")}, ["sql/m1.sql is not UTF-8"]),
        ({"m1.sql": MODEL.format("embed_id, -- n").replace("fct_embeds", "nowhere")}, ["sql/m1.sql reads nowhere"]),
        (
            {f"m{n}.sql": MODEL.format("n, -- n").replace("fct_embeds", f"m{3 - n}") for n in (1, 2)},
            ["sql/m1.sql", "sql/m2.sql", "in a circle"],
        ),
        ({"checks/c1.sql": CHECK.format("select nope from fct_embeds")}, ["sql/checks/c1.sql, line 4:", "nope"]),
        ({"checks/c1.sql": CHECK.format("select (")}, ["sql/checks/c1.sql cannot be read:"]),
        ({"checks/c1.sql": "-- A check.\nselect 1"}, ["sql/checks/c1.sql needs the lines `-- table:`"]),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value[0]),
)
def test_a_wrong_file_in_sql(tmp_path: Path, program: Path, files: dict[str, str], words: list[str]) -> None:
    for name, text in files.items():
        (program / "sql" / name).write_bytes(text.encode(errors="surrogateescape"))
    try:
        done = publish(program, tmp_path / "home")
    finally:
        for name in files:
            (program / "sql" / name).unlink()
    fails(done, *words)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_model_may_read_a_table_function(tmp_path: Path, program: Path) -> None:
    model = program / "sql" / "m1.sql"
    model.write_text(
        "-- Calendar.\n-- refresh: whole\nselect\n    d as day, -- day\n"
        "from generate_series(1::bigint, 5::bigint) as g(d)\n"
    )
    try:
        done = publish(program, tmp_path / "home")
    finally:
        model.unlink()
    assert done.returncode == 0, done.stderr
    assert run(tmp_path, "query", "select sum(day) as s from m1", "--format", "csv").stdout.split() == ["s", "15"]
