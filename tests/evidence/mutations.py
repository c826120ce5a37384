"""One change to a home each: what an attacker, a disk or a careless hand does. Each names where it was made.

A mutation draws what it needs, changes the copy of a home in place, and returns the places of which a finding must name
one: paths below the home, or event dates. It returns None where what it drew changes nothing.
"""

from collections.abc import Callable
from pathlib import Path

import orjson
from hypothesis import strategies as st

from pipelines.home.layout import Home
from tests.evidence.homes import edit, files, put, relative

Mutation = Callable[[Home, st.DataObject], set[str] | None]


def raw_files(home: Home) -> list[Path]:
    return files(home, home.raw_embed_events, home.raw_embeds, home.raw_sweeps)


def chain_files(home: Home) -> list[Path]:
    return files(home, home.raw_chain)


def change_raw_byte(home: Home, data: st.DataObject) -> set[str] | None:
    return _change_byte(home, data.draw(st.sampled_from(raw_files(home))), data)


def change_chain_byte(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(chain_files(home)))
    around = _neighbours(home, path)
    return around | _change_byte(home, path, data)


def _change_byte(home: Home, path: Path, data: st.DataObject) -> set[str]:
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    flipped = data.draw(st.integers(1, 255))
    edit(path, lambda held: held[:place] + bytes([held[place] ^ flipped]) + held[place + 1 :])
    return {relative(home, path)}


def truncate_raw(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(raw_files(home)))
    kept = data.draw(st.integers(0, path.stat().st_size - 1))
    edit(path, lambda held: held[:kept])
    return {relative(home, path)}


def truncate_chain_file(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(chain_files(home)))
    kept = data.draw(st.integers(0, path.stat().st_size - 1))
    around = _neighbours(home, path)
    edit(path, lambda held: held[:kept])
    return around


def remove_raw(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(raw_files(home)))
    path.unlink()
    return {relative(home, path)}


def remove_chain_files(home: Home, data: st.DataObject) -> set[str] | None:
    """One, or some that follow each other: in the middle, the first, or the last."""
    held = chain_files(home)
    first = data.draw(st.integers(0, len(held) - 1))
    last = data.draw(st.integers(first, len(held) - 1))
    around = _neighbours(home, held[first]) | _neighbours(home, held[last])
    for path in held[first : last + 1]:
        path.unlink()
    return {*around, relative(home, home.raw_chain)}


def add_raw(home: Home, data: st.DataObject) -> set[str] | None:
    """A copy of a file, or anything else, in a folder that is there or a new one."""
    held = data.draw(st.sampled_from(raw_files(home)))
    content = data.draw(st.one_of(st.just(held.read_bytes()), st.binary(max_size=20)))
    folder = data.draw(
        st.sampled_from([held.parent, home.raw_embed_events / "event_date=2026-02-01", home.root / "raw"])
    )
    path = folder / data.draw(st.sampled_from(["added.parquet", "added.txt", "ädded \x1b[31m.parquet"]))
    put(path, content)
    return {relative(home, path)}


def add_chain_file(home: Home, data: st.DataObject) -> set[str] | None:
    held = data.draw(st.sampled_from(chain_files(home)))
    name = data.draw(st.sampled_from(["000000000002.jsonl", "000000000099.jsonl", "x", "000000000099.parquet"]))
    folder = data.draw(st.sampled_from([held.parent, home.raw_chain / "000001", home.raw_chain]))
    put(folder / name, data.draw(st.sampled_from([held.read_bytes(), b"", b"{}\n"])))
    return {relative(home, folder / name)}


def rename_raw(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(raw_files(home)))
    other = data.draw(st.sampled_from([path.with_name("other.parquet"), home.raw_embed_events / path.name]))
    path.rename(other)
    return {relative(home, path)}


def swap_raw(home: Home, data: st.DataObject) -> set[str] | None:
    return _swap(home, raw_files(home), data)


def swap_chain_files(home: Home, data: st.DataObject) -> set[str] | None:
    return _swap(home, chain_files(home), data)


def _swap(home: Home, paths: list[Path], data: st.DataObject) -> set[str] | None:
    one, other = data.draw(st.lists(st.sampled_from(paths), min_size=2, max_size=2, unique=True))
    contents = one.read_bytes(), other.read_bytes()
    put(other, contents[0])
    put(one, contents[1])
    return {relative(home, one), relative(home, other)} if contents[0] != contents[1] else None


def change_links(home: Home, data: st.DataObject) -> set[str] | None:
    """Remove, repeat, exchange or edit lines of a file of links; no digest is repaired."""
    path = data.draw(st.sampled_from(chain_files(home)))
    lines = path.read_bytes().splitlines(keepends=True)
    place, other = data.draw(st.integers(0, len(lines) - 1)), data.draw(st.integers(0, len(lines) - 1))
    changed = list(lines)
    match data.draw(st.sampled_from(["remove", "repeat", "swap", "edit"])):
        case "remove":
            del changed[place]
        case "repeat":
            changed.insert(other, lines[place])
        case "swap":
            changed[place], changed[other] = lines[other], lines[place]
        case _:
            link = orjson.loads(lines[place])
            name = data.draw(st.sampled_from(sorted(link)))
            drawn = st.one_of(st.text(max_size=5), st.integers(-1, 9), st.none(), st.just("0" * 64))
            link[name] = data.draw(drawn)
            changed[place] = orjson.dumps(link) + b"\n"
    if changed == lines:
        return None
    around = _neighbours(home, path)
    put(path, b"".join(changed))
    return around


def _neighbours(home: Home, path: Path) -> set[str]:
    """A file of links and those beside it: of a gap, only its ends are left. And the files that its links name."""
    paths = chain_files(home)
    place = paths.index(path)
    links = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return {relative(home, each) for each in paths[max(0, place - 1) : place + 2]} | {
        link["path"] for link in links if "path" in link
    }


IN_RAW: list[Mutation] = [
    change_raw_byte,
    truncate_raw,
    remove_raw,
    add_raw,
    rename_raw,
    swap_raw,
    change_chain_byte,
    truncate_chain_file,
    remove_chain_files,
    add_chain_file,
    swap_chain_files,
    change_links,
]
