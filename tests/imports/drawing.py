"""docs/imports.md: who imports whom, from the imports themselves. `make imports` writes it; a test finds a stale one.

The order of the rows is the one that the linter holds, read from pyproject.toml.
"""

import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "imports.md"

# A room of the house: `assets`, or a package or module right below `pipelines`.
Arrows = set[tuple[str, str]]


def contract() -> dict[str, list[str]]:
    """The linter's contract about layers."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract for contract in contracts if contract["id"] == "layers"]
    return layers


def rooms_from_above() -> list[str]:
    """The rooms, each before those that it may import. `assets` stands below the definitions, which alone import it."""
    rooms = [room.strip() for layer in contract()["layers"] for room in layer.split("|")]
    return [above for room in rooms for above in ([room, "assets"] if room == "definitions" else [room])]


def room_of(module: str) -> str | None:
    """The room of a module; None for `pipelines` itself, which imports nothing."""
    package, *path = module.split(".")
    return package if package == "assets" else path[0] if path else None


def arrows_between(rooms: list[str]) -> Arrows:
    """Each (importing room, imported room), imports in functions and for type checking included."""
    graph = grimp.build_graph("pipelines", "assets", cache_dir=None)
    pairs = {
        (room_of(importer), room_of(imported))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }
    return {(above, below) for above, below in pairs if above != below and above in rooms and below in rooms}


def split_by_direction(rooms: list[str], arrows: Arrows) -> tuple[Arrows, Arrows]:
    """(the arrows that point down, those that point up)."""
    down = {arrow for arrow in arrows if rooms.index(arrow[0]) < rooms.index(arrow[1])}
    return down, arrows - down


def direct(down: Arrows) -> Arrows:
    """The arrows that no way through other rooms stands for; all have to point down."""

    def reaches(start: str, end: str, without: tuple[str, str] | None = None) -> bool:
        ahead = [arrow[1] for arrow in down if arrow[0] == start and arrow != without]
        return end in ahead or any(reaches(room, end) for room in ahead)

    return {arrow for arrow in down if not reaches(*arrow, without=arrow)}


def page(rooms: list[str], arrows: Arrows) -> str:
    place = {room: index for index, room in enumerate(rooms)}
    down, upward = split_by_direction(rooms, arrows)
    header = ["imports", *rooms[1:]]
    table = [
        f"| `{room}` | " + " | ".join("●" if (room, below) in arrows else " " for below in rooms[1:]) + " |"
        for room in rooms
    ]
    drawn = sorted(direct(down) | upward, key=lambda arrow: (place[arrow[0]], place[arrow[1]]))
    return "\n".join(
        [
            "# Who imports whom",
            "",
            "`make imports` draws this page from the imports themselves, those inside functions and for type checking",
            "included. `make lint` holds the order.",
            "",
            f"{len(rooms)} rooms, {len(arrows)} arrows, {len(upward)} of them upward.",
            "",
            "A room may import those to its right. A mark to the left of its own column points up; where none stands,",
            "there is no circle.",
            "",
            "| " + " | ".join(header) + " |",
            "| --- |" + " :-: |" * len(rooms[1:]),
            *table,
            "",
            "The same as a picture, without the arrows that a longer way stands for:",
            "",
            "```mermaid",
            "flowchart TD",
            *(f'    {above}_["{above}"] --> {below}_["{below}"]' for above, below in drawn),
            "```",
            "",
        ]
    )


def drawing() -> str:
    rooms = rooms_from_above()
    return page(rooms, arrows_between(rooms))


if __name__ == "__main__":
    PAGE.write_text(drawing())
