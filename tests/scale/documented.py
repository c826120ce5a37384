"""The commands that docs/deploy.md gives, and the files beside it. Tests run them with other paths and ports."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "deploy"
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"```sh\n(.+?)```", re.DOTALL)


def commands() -> list[str]:
    """Each line of the page's blocks of commands, without remarks."""
    lines = [line.split("  #")[0].strip() for block in _BLOCK.findall(PAGE) for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def command(part: str) -> str:
    """The command of the page that has this part; there is one."""
    (found,) = [line for line in commands() if part in line]
    return found


def replaced(text: str, others: Mapping[str, str]) -> str:
    """The text with paths, ports and names of this test's. Each must stand in it."""
    for old, new in others.items():
        assert old in text, f"{old!r} is not in: {text}"
        text = text.replace(old, new)
    return text


def run(
    text: str, folder: Path, environment: Mapping[str, str], *, answer: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does, in a folder; it must succeed."""
    done = subprocess.run(
        ["sh", "-c", text],
        cwd=folder,
        env=dict(environment),
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done
