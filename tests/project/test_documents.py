"""What the documents name exists: paths, modules, names in the code, commands, targets, links. Nothing lies outside."""

import importlib
import re
import tomllib
from pathlib import Path

import typer.main

from pipelines.settings import Settings
from pipelines.terminal.cli import app
from tests.project.checkout import recipes

ROOT = Path(__file__).parents[2]
FOLDERS = ("pipelines", "assets", "sql", "tests", "benchmarks", "docs", ".ci")
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
}
CODE = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted(
        [
            *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sql")),
            *ROOT.glob("*.yaml"),
            *(ROOT / name for name in ("pyproject.toml", "Makefile", ".ci/run")),
        ]
    )
    if ".cache" not in path.parts and path != Path(__file__)
}
ARCHITECTURE = DOCUMENTS["docs/architecture.md"]

_BLOCK = re.compile(r"```.*?```", re.DOTALL)
# Names in the printed figures are those of the run that printed them.
_PRINTED = re.compile(r"<!-- begin: printed.*?<!-- end: printed[^>]*>", re.DOTALL)
# `embed-analytics COMMAND` at the start of a code span or line, behind settings or a folder if any.
_COMMAND = re.compile(r"(?:^ *|`)(?:[A-Z_]+=\S+ )?(?:[\w./-]+/)?embed-analytics ([a-z][^`\n#]*)", re.MULTILINE)
_TARGET = re.compile(r"(?:^ *|`)make ([a-z][\w-]*)", re.MULTILINE)
_PAGE = re.compile(r"[\w./-]*\w\.md\b(?!\()")


def prose(text: str) -> str:
    """The text without its blocks and printed figures."""
    return _BLOCK.sub("", _PRINTED.sub("", text))


def spans(pattern: str) -> set[tuple[str, str]]:
    """(document, code span) for the spans that match as a whole."""
    return {
        (name, span)
        for name, text in DOCUMENTS.items()
        for span in re.findall(r"`([^`\n]+)`", prose(text))
        if re.fullmatch(pattern, span)
    }


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown viewer gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    links = {(name, link) for name, text in DOCUMENTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    assert len(links) > 30
    for document, link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        if not link.startswith("https://"):
            assert target.resolve().is_relative_to(ROOT), f"{document} links to {link}"
            assert target.exists(), f"{document} links to {link}"
            assert not anchor or anchor in anchors(target), f"{document} links to {link}"


def test_paths_exist() -> None:
    paths = spans(rf"({'|'.join(map(re.escape, FOLDERS))})/[^ ]*")
    assert len(paths) > 30
    for document, path in paths:
        # A recipe's `<name>` is the reader's.
        found = (ROOT / path).parent.is_dir() if "<name>" in path else (ROOT / path).exists()
        assert found, f"{document} names {path}"


def test_modules_and_what_is_in_them_exist() -> None:
    for document, name in spans(r"(pipelines|assets|benchmarks)(\.\w+)+(\(\))?"):
        assert exists(name.removesuffix("()").split(".")), f"{document} names {name}"


def exists(parts: list[str]) -> bool:
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def test_names_of_classes_and_constants_stand_in_the_code() -> None:
    """Of what the two documents for developers name: `FLATTEN_VERSION`, `Gate._fail`."""
    words = {word for text in CODE.values() for word in re.findall(r"\w+", text)}
    for document, name in spans(r"_?[A-Z]\w*[a-z_]\w*(\.\w+)*"):
        if document in ("docs/architecture.md", "CONTRIBUTING.md"):
            # Settings are written in capitals in documents and in small letters in the code.
            parts = [name.lower()] if name.lower() in Settings.model_fields else name.split(".")
            assert words.issuperset(parts), f"{document} names {name}"


def test_commands_and_their_options_exist() -> None:
    known = typer.main.get_group(app).commands
    named = {(document, line) for document, text in DOCUMENTS.items() for line in _COMMAND.findall(text)}
    assert {line.split()[0] for _, line in named} >= {"refresh", "backfill", "query", "serve-webhooks", "simulate"}
    for document, line in named:
        command, *words = line.split()
        assert command in known, f"{document} names embed-analytics {line}"
        options = {option for parameter in known[command].params for option in parameter.opts}
        used = {word for word in words if word.startswith("--")}
        assert used <= options, f"{document} names embed-analytics {line}"


def test_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", CODE["Makefile"], re.MULTILINE))
    targets |= {f"bench-{Path(name).stem}" for name in CODE if re.fullmatch(r"benchmarks/[a-z]\w*\.py", name)}
    for document, text in DOCUMENTS.items():
        for target in _TARGET.findall(text):
            assert target in targets, f"{document} names make {target}"


def test_settings_exist() -> None:
    for document, name in spans(r"(ONESCHEMA|EMBED_ANALYTICS)_[A-Z_]+"):
        assert name.lower() in Settings.model_fields, f"{document} names {name}"


def test_each_room_is_described() -> None:
    rooms = [path for path in (ROOT / "pipelines").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    for room in rooms:
        if room.stem not in ("__init__", "__main__"):
            assert f"| `pipelines/{room.name}{'/' if room.is_dir() else ''}` |" in ARCHITECTURE


def test_nothing_refers_outside_the_repository() -> None:
    for name, text in (DOCUMENTS | CODE).items():
        assert "../shared" not in text, name
        assert "/work/" not in text, name
        for page in _PAGE.findall(text):
            folders = (ROOT, ROOT / "docs", (ROOT / name).parent)
            is_there = any((folder / page).exists() for folder in folders)
            # Tests make pages of their own.
            assert is_there or name.startswith("tests/"), f"{name} names {page}"


def test_the_picture_of_imports_is_that_of_the_contracts() -> None:
    """Each arrow points down in the layers that the linter holds, and each of their rooms is in the picture."""
    contracts = tomllib.loads(CODE["pyproject.toml"])["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "layers"]
    depth = {room.strip(): float(number) for number, layer in enumerate(layers) for room in layer.split("|")}
    depth["assets"] = (depth["definitions"] + depth["orchestration"]) / 2
    _, picture = re.findall(r"```mermaid\n(.+?)```", ARCHITECTURE, re.DOTALL)
    arrows = re.findall(r"^ +(\w+) -[-.]+>(?:\|[^|]+\|)? (\w+)$", picture, re.MULTILINE)
    assert [arrow for arrow in arrows if depth[arrow[0]] >= depth[arrow[1]]] == []
    assert {room for arrow in arrows for room in arrow} == depth.keys() - {"__main__"}


def test_the_files_of_a_recipe_are_there() -> None:
    assert len(recipes()) > 7
    for recipe, paths in recipes().items():
        for path in paths:
            found = (ROOT / path).parent.is_dir() if "<name>" in path else (ROOT / path).is_file()
            assert found, f"the recipe {recipe!r} names {path}"
