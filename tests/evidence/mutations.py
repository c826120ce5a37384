"""One change to a home each: what an attacker, a disk or a careless hand does. Each names where it was made.

A mutation draws what it needs, changes the copy of a home in place, and returns the places of which a finding must name
one: paths below the home, or event dates. It returns None where what it drew changes nothing.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb
import orjson
import polars as pl
from hypothesis import strategies as st

from pipelines.home.files import write_parquet
from pipelines.home.layout import NO_DATE, Home
from tests.evidence.homes import edit, files, put, relative
from tests.warehouse.lake import START

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


def lake_files(home: Home) -> list[Path]:
    return files(home, home.lake, home.quarantine)


def change_lake_byte(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(lake_files(home)))
    held = path.read_bytes()
    footer = len(held) - 8 - int.from_bytes(held[-8:-4], "little")
    changed = _change_byte(home, path, data)
    now = path.read_bytes()
    # Of the seal's name: the file is then read as one without a seal, and holds the same rows.
    is_name = held[footer - 16 : footer - 8] != now[footer - 16 : footer - 8]
    return None if is_name else changed


def truncate_lake(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(lake_files(home)))
    kept = data.draw(st.integers(0, path.stat().st_size - 1))
    edit(path, lambda held: held[:kept])
    return {relative(home, path)}


def remove_lake(home: Home, data: st.DataObject) -> set[str] | None:
    """A file of a day, or all of them."""
    path = data.draw(st.sampled_from(files(home, home.lake_embed_events)))
    folders = (home.lake_embed_events, home.lake_validation_errors, home.quarantine)
    paths = [each for folder in folders for each in files(home, folder / path.parent.name)]
    chosen = data.draw(st.one_of(st.just(paths), st.sampled_from(paths).map(lambda one: [one])))
    for each in chosen:
        each.unlink()
    return {relative(home, each) for each in chosen} | {_date(path)}


def _date(path: Path) -> str:
    date = path.parent.name.partition("=")[2]
    return "unknown" if date == NO_DATE else date


def add_lake(home: Home, data: st.DataObject) -> set[str] | None:
    held = data.draw(st.sampled_from(lake_files(home)))
    path = held.with_name("added.parquet")
    put(path, held.read_bytes())
    return {relative(home, path)}


def rename_lake(home: Home, data: st.DataObject) -> set[str] | None:
    path = data.draw(st.sampled_from(lake_files(home)))
    path.rename(path.with_name("other.parquet"))
    return {relative(home, path.with_name("other.parquet"))}


def swap_lake(home: Home, data: st.DataObject) -> set[str] | None:
    return _swap(home, lake_files(home), data)


def rewrite_lake(home: Home, data: st.DataObject) -> set[str] | None:
    """Other rows, written as flattening writes them: sealed, and with the same metadata."""
    path = data.draw(st.sampled_from([each for each in lake_files(home) if pl.read_parquet(each, glob=False).height]))
    held = pl.read_parquet(path, glob=False, hive_partitioning=False)
    row = data.draw(st.integers(0, held.height - 1))
    match data.draw(st.sampled_from(["cell", "removed", "repeated", "replaced", "reversed"])):
        case "removed":
            rows = held.filter(pl.int_range(held.height) != row)
        case "repeated":
            rows = pl.concat([held, held[row]])
        case "replaced":
            rows = pl.concat([held[:row], held[data.draw(st.integers(0, held.height - 1))], held[row + 1 :]])
        case "reversed":
            rows = held.reverse()
        case _:
            name = data.draw(st.sampled_from(held.columns))
            values: dict[object, object] = {pl.String: "x", pl.Int64: 7, pl.Boolean: True, pl.Datetime: START}
            value = values[type(held.schema[name])]
            new = data.draw(st.sampled_from([None, value]))
            column = pl.when(pl.int_range(held.height) == row).then(pl.lit(new, held.schema[name])).otherwise(name)
            rows = held.with_columns(column.alias(name))
    if rows.equals(held) or (path.name == "quarantine.parquet" and rows.sort(pl.all()).equals(held.sort(pl.all()))):
        return None
    metadata = {name: text for name, text in pl.read_parquet_metadata(path).items() if name != "ARROW:schema"}
    path.unlink()
    write_parquet(rows, path, metadata)
    return {relative(home, path)}


def rewrite_lake_metadata(home: Home, data: st.DataObject) -> set[str] | None:
    """Other counts, or other claims, in what a day's file says of it."""
    path = data.draw(st.sampled_from(files(home, home.lake_embed_events)))
    held = pl.read_parquet(path, glob=False, hive_partitioning=False)
    record = orjson.loads(pl.read_parquet_metadata(path)["embed_analytics"])
    what = data.draw(st.sampled_from([*sorted(record["report"]), "claims"]))
    if what == "claims":
        if not record["claims"]:
            return None
        record["claims"][0][2] += 1
    else:
        record["report"][what] = "2026-01-01" if isinstance(record["report"][what], str) else 99
    path.unlink()
    write_parquet(held, path, {"embed_analytics": orjson.dumps(record).decode()})
    # The counts of another file of the day may be named.
    return {relative(home, path), _date(path)}


def edit_warehouse(home: Home, data: st.DataObject) -> set[str] | None:
    """A row of a table, through DuckDB. Of a table that is made of the lake, the day is named."""
    put(home.warehouse, home.warehouse.read_bytes())
    tables = ["stg_embed_events", "stg_validation_errors", "meta_quarantine", "stg_lake_days", "fct_embeds"]
    table = data.draw(st.sampled_from(tables))
    with duckdb.connect(str(home.warehouse)) as connection:
        found = connection.execute(f"select rowid, * from {table} order by rowid")
        names = [column[0] for column in found.description or ()]
        row = dict(zip(names, data.draw(st.sampled_from(found.fetchall())), strict=True))
        rowid = row.pop("rowid")
        filled = [name for name, value in row.items() if value is not None and name != "lake_partition"]
        change = data.draw(st.sampled_from(["delete", "repeat", *filled]))
        if change == "delete":
            connection.execute(f"delete from {table} where rowid = {rowid}")
        elif change == "repeat":
            connection.execute(f"insert into {table} from {table} where rowid = {rowid}")
        else:
            connection.execute(f'update {table} set "{change}" = null where rowid = {rowid}')
    return {row.get("lake_partition", "warehouse.duckdb")}


IN_THE_LAKE: list[Mutation] = [
    change_lake_byte,
    truncate_lake,
    remove_lake,
    add_lake,
    rename_lake,
    swap_lake,
    rewrite_lake,
    rewrite_lake,
    rewrite_lake_metadata,
    edit_warehouse,
    edit_warehouse,
]
