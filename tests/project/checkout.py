"""A copy of the repository in which a recipe of CONTRIBUTING.md is followed, and the files that this took."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

# Sweeps a simulated account into the home, flattens, publishes, and prints the answer to a query as JSON.
_PUBLISH = """
import json, os
from pipelines import steps
from pipelines.poll.report import SweepRequest
from pipelines.settings import load_settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from pipelines.warehouse.published import connect_published

def wait(message):
    raise AssertionError(message)

given = json.loads(os.environ["GIVEN"])
with running_simulator(SimulatorOptions(embeds=3, days=2)) as simulator:
    for embed in given["embeds"]:
        simulator.simulation.plant(embed["id"], embed=embed, events=embed.pop("events"))
    os.environ |= {"ONESCHEMA_API_URL": simulator.url, "ONESCHEMA_API_KEY": simulator.api_key}
    settings = load_settings()
    steps.sweep(settings, SweepRequest("refresh"), on_wait=wait)
steps.flatten(settings, on_wait=wait)
report = steps.publish(settings, on_wait=wait)
assert report.tables["stg_embed_events"] > len(given["embeds"])
with connect_published(settings.home) as connection:
    rows = connection.execute(given["sql"]).fetchall()
print(json.dumps({"rows": rows, "failed": [check.name for check in report.failed_checks]}, default=str))
"""

_COPIED = ("pipelines", "assets", "sql", "docs", "tests")
_COPIED_FILES = ("README.md", "pyproject.toml", "dagster.yaml", "workspace.yaml")


def recipes() -> dict[str, list[str]]:
    """The files that each recipe of CONTRIBUTING.md names, by its heading."""
    _, _, text = CONTRIBUTING.partition("\n## Recipes\n")
    text = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
    found: dict[str, list[str]] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        counted = re.search(r"^Files \((\d+)\): (.+?)$\n\n", body, re.MULTILINE | re.DOTALL)
        assert counted, f"the recipe {heading!r} names no files"
        found[heading] = re.findall(r"`([^`]+)`", counted[2])
        assert len(found[heading]) == int(counted[1]), f"the recipe {heading!r} counts its files wrongly"
    return found


@dataclass(frozen=True)
class Answer:
    """Rows of a query on the published warehouse, and the checks that failed when it was built."""

    rows: list[tuple[Any, ...]]
    failed_checks: set[str]


@dataclass
class Checkout:
    """The copy. Every change goes through it, and is noted in `touched`."""

    root: Path
    touched: set[str] = field(default_factory=set[str])

    @classmethod
    def copy(cls, root: Path) -> "Checkout":
        for name in _COPIED:
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
        for name in _COPIED_FILES:
            shutil.copy(ROOT / name, root / name)
        return cls(root)

    def add(self, path: str, text: str) -> None:
        """Adds a file."""
        assert not (self.root / path).exists()
        (self.root / path).write_text(text, encoding="utf-8")
        self.touched.add(path)

    def insert(self, path: str, after: str, text: str) -> None:
        """Adds lines behind the first line that begins with `after`, its indentation aside."""
        lines = (self.root / path).read_text(encoding="utf-8").splitlines(keepends=True)
        at = next(number for number, line in enumerate(lines) if line.lstrip().startswith(after)) + 1
        (self.root / path).write_text("".join([*lines[:at], text, *lines[at:]]), encoding="utf-8")
        self.touched.add(path)

    def replace(self, path: str, old: str, new: str) -> None:
        """Replaces a text that stands in the file once."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        (self.root / path).write_text(text.replace(old, new), encoding="utf-8")
        self.touched.add(path)

    def make_dictionary(self) -> None:
        """`make dictionary`."""
        self.python("import sys; from pipelines.warehouse.dictionary import main; sys.exit(main([]))")
        self.touched.add("docs/dictionary.md")

    def python(self, code: str, **settings: str) -> str:
        """What a program prints that imports the copy, with a new home. It must succeed."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ONESCHEMA", "EMBED_", "DAGSTER"))}
        environment |= {"EMBED_ANALYTICS_HOME": tempfile.mkdtemp(dir=self.root), **settings}
        code = f"import pipelines; assert pipelines.__path__[0] == {str(self.root / 'pipelines')!r}\n{code}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def publish(self, sql: str, *embeds: dict[str, Any], **settings: str) -> Answer:
        """What the copy's warehouse answers, made of a small simulated account and these embeds with their `events`."""
        answer = json.loads(self.python(_PUBLISH, GIVEN=json.dumps({"sql": sql, "embeds": embeds}), **settings))
        return Answer([tuple(row) for row in answer["rows"]], set(answer["failed"]))

    def passes(self, test: str) -> str:
        """Runs a test of the copy's, `path::name`. It must pass."""
        return self.python(f"import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', {test!r}]))")

    def followed(self, recipe: str, **names: str) -> bool:
        """Whether the files that were touched are those that the recipe names; `<name>` is a name of ours."""
        wanted = recipes()[recipe]
        for name, value in names.items():
            wanted = [path.replace(f"<{name}>", value) for path in wanted]
        return self.touched == set(wanted)
