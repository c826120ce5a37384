"""What a Dockerfile says, carried out in folders in place of an image: files are copied, commands are run."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass
class Stage:
    """One stage: the folder that stands for its root, the environment by ENV, and where it stands."""

    root: Path
    base: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    folder: str = "/"
    user: str = ""
    command: list[str] = field(default_factory=list[str])

    def at(self, path: str) -> Path:
        """A path of the image, here."""
        return self.root / (Path(self.folder) / path).relative_to("/")

    def here(self) -> dict[str, str]:
        """The environment of a command, with the image's paths here."""
        ours = self.base.get("PATH", "").split(":")
        return self.base | {
            name: ":".join(
                str(self.at(part)) if part.startswith("/") and part not in ours else part for part in value.split(":")
            )
            for name, value in self.environment.items()
        }

    def set(self, assignment: str) -> None:
        name, _, value = assignment.partition("=")
        known = self.base | self.environment
        self.environment[name] = _VARIABLE.sub(lambda match: known[match[1]], value)


def build(
    dockerfile: Path, context: Path, folder: Path, base: dict[str, str], run: Callable[[str, Stage], None]
) -> Stage:
    """Carry out a Dockerfile below a folder and return its last stage. `run` gets each RUN.

    `base` is the environment that an image begins with.
    """
    stages: dict[str, Stage] = {}
    stage = Stage(folder, base)
    for name, rest in instructions(dockerfile):
        match name:
            case "FROM":
                image, _, alias = rest.partition(" AS ")
                assert re.fullmatch(r"[\w.-]+:[\w.-]+", image), f"{image} names a registry, or no version"
                stage = stages[alias] = Stage(folder / (alias or "image"), base)
                stage.root.mkdir()
            case "ENV":
                for assignment in shlex.split(rest):
                    stage.set(assignment)
            case "WORKDIR":
                stage.folder = rest
                stage.at(".").mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(rest, stage, stages, context)
            case "RUN":
                run(rest, stage)
            case "USER":
                stage.user = rest
            case "CMD":
                stage.command = json.loads(rest)
            case _:
                raise AssertionError(f"{name} is not carried out here")
    return stage


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions, each with what follows it."""
    lines = dockerfile.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    split = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in split]


def _copy(rest: str, stage: Stage, stages: dict[str, Stage], context: Path) -> None:
    *sources, target = rest.split()
    if sources[0].startswith("--from="):
        other = stages[sources.pop(0).removeprefix("--from=")]
        found = [other.at(source) for source in sources]
    else:
        found = [context / source for source in sources]
    for source in found:
        to = stage.at(f"{target}{source.name}" if target.endswith("/") else target)
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True)
        else:
            shutil.copy(source, to)
