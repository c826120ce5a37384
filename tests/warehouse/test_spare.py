"""A refresh that writes into the file that publishing would have removed: the same warehouse, and no copy."""

import hashlib
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest

from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse import build as build_module
from pipelines.warehouse import continuing, published_record, sources
from pipelines.warehouse import spare as spare_module
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildReport
from pipelines.warehouse.check_files import read_check
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.publish import kept_folder
from pipelines.warehouse.spare import spare_file
from tests.proving import examples
from tests.warehouse import reader_process
from tests.warehouse.compare import differences
from tests.warehouse.history import History
from tests.warehouse.lake import Lake, at, event
from tests.warehouse.test_incremental import rebuilt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can say who has a file open"),
]


def keeping(count: int, **changes: Any) -> BuildOptions:
    return BuildOptions(Settings.defaults(embed_analytics_keep_warehouses=count, **changes), "test")


NONE_KEPT = keeping(0)


@pytest.fixture
def lake(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose builds take any spare that may be written to, whatever it missed."""
    monkeypatch.setattr(continuing, "_COPIED_IN_THE_TIME", 0)
    return lake


@pytest.fixture
def history(lake: Lake) -> History:
    """Two builds: the first has become the spare."""
    history = begun(lake, 5)
    for _ in range(2):
        history.batch()
        build(lake.home, NONE_KEPT)
    assert spare_file(lake.home).exists()
    return history


def begun(lake: Lake, seed: int) -> History:
    """A history that has a now and all claim columns from the start, so that every build but the first is a refresh."""
    history = History(lake, Random(seed))
    claims = {"user_id": "1", "team": "1", "rare_0": "1", "rare_1": "1", "rare_2": "1"}
    lake.write([event("first", 10_000, "embed_closed", at(-60 * 24 * 30), claims=claims)])
    lake.sweep(history.now)
    return history


def check_right(lake: Lake, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published warehouse equals one that is built from nothing."""
    assert differences(lake.home, rebuilt(lake, NONE_KEPT, root, monkeypatch)) == {}
    shutil.rmtree(root)


@pytest.mark.prove
@pytest.mark.parametrize("keep", [0, 2])
def test_it_equals_a_refresh_that_copies_and_a_full_build(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    history, reports, copying = begun(lake, keep), list[BuildReport](), Home(tmp_path / "copying")
    for _ in range(keep + 7):
        history.batch()
        # The same lake, in a home whose refreshes always copy.
        shutil.copytree(lake.home.root, copying.root, copy_function=os.link)
        spare_file(copying).unlink(missing_ok=True)
        reports.append(build(lake.home, keeping(keep)))
        with monkeypatch.context() as patch:
            frames = lake.catalogues(lake.home)
            patch.setattr(sources, "read_catalogues", partial(_same, frames))
            other = build(copying, keeping(keep))
        assert (other.is_full, other.is_recycled) == (reports[-1].is_full, False)
        assert differences(lake.home, copying) == {}
        shutil.rmtree(copying.root)
    check_right(lake, tmp_path / "full", monkeypatch)
    # The first ones are kept, and one more goes before a file is left over.
    assert [report.is_recycled for report in reports] == [number > keep + 1 for number in range(keep + 7)]
    assert [report.copied_bytes > 0 for report in reports] == [0 < number <= keep + 1 for number in range(keep + 7)]
    assert sorted(path.stem for path in kept_folder(lake.home).iterdir()) == [
        report.build_id for report in reports[-keep - 1 : -1]
    ]


def _same(frames: object, _: Home) -> object:
    return frames


def test_kept_files_stay_as_they_were(lake: Lake) -> None:
    history, held = begun(lake, 1), dict[str, bytes]()
    for _ in range(9):
        history.batch()
        build(lake.home, keeping(2))
        for path in kept_folder(lake.home).glob("*"):
            assert held.setdefault(path.name, path.read_bytes()) == path.read_bytes()
        assert len(list(kept_folder(lake.home).glob("*"))) <= 2
    assert len(held) == 8


READING = "select (select count(*) from stg_embed_events), (select sum(hash(held)) from fct_embeds as held)"
WITH_DUCKDB = f"""
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
print("open", flush=True)
sys.stdin.readline()
print(connection.execute("{READING}").fetchall(), flush=True)
"""
WITHOUT_A_LOCK = """
import hashlib, sys
file = open(sys.argv[1], "rb")
print("open", flush=True)
sys.stdin.readline()
print(hashlib.sha256(file.read()).hexdigest(), flush=True)
"""

Seen = Callable[[], str]


@contextmanager
def _process(code: str, file: Path) -> Generator[Seen]:
    """What a process sees, which opens the file at once and reads it when asked."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield lambda: process.communicate("\n")[0]


@contextmanager
def duckdb_in_this_process(file: Path) -> Generator[Seen]:
    """Locks do not hold between the files that one process opens."""
    with duckdb.connect(file, read_only=True) as connection:
        yield lambda: f"{connection.execute(READING).fetchall()}\n"


@contextmanager
def another_name(file: Path) -> Generator[Seen]:
    backup = file.with_name("backup.duckdb")
    backup.hardlink_to(file)
    yield lambda: hashlib.sha256(backup.read_bytes()).hexdigest() + "\n"
    backup.unlink()


HOLDERS: dict[str, Callable[[Path], AbstractContextManager[Seen]]] = {
    "DuckDB in another process": partial(_process, WITH_DUCKDB),
    "DuckDB in this process": duckdb_in_this_process,
    "a program that copies, without a lock": partial(_process, WITHOUT_A_LOCK),
    "a hard link": another_name,
}


@pytest.mark.parametrize("is_published", [True, False], ids=["while published", "since"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_file_that_somebody_may_see_is_not_written_to(
    lake: Lake, history: History, holder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_published: bool
) -> None:
    file = lake.home.warehouse if is_published else spare_file(lake.home)
    # A copy has the same rows and bytes, and tells before anything happens what the holder has to see.
    with HOLDERS[holder](Path(shutil.copy(file, tmp_path / "copy.duckdb"))) as told:
        expected = told()
    with HOLDERS[holder](file) as told:
        reports = list[BuildReport]()
        for _ in range(3):
            history.batch()
            reports.append(build(lake.home, NONE_KEPT))
        assert told() == expected
    # The build that would have written to it copied, and left a spare for the one after it.
    assert [report.is_recycled for report in reports] == ([True, False, True] if is_published else [False, True, True])
    check_right(lake, tmp_path / "full", monkeypatch)


def test_a_file_with_a_list_of_who_may_read_it_is_not_written_to(lake: Lake, history: History) -> None:
    """What `setfacl -m u:1:r` sets would be on a file that was published for others."""
    entries = [(1, 6, -1), (2, 4, 1), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(spare_file(lake.home), "system.posix_acl_access", struct.pack("<I", 2) + packed)
    except OSError:
        pytest.skip("this file system has no access control lists")
    history.batch()
    assert not build(lake.home, NONE_KEPT).is_recycled


def test_a_system_that_cannot_say_who_has_a_file_open_copies(
    lake: Lake, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_module.sys, "platform", "darwin")
    for _ in range(2):
        history.batch()
        assert not build(lake.home, NONE_KEPT).is_recycled


def test_a_folder_of_another_machine_copies(lake: Lake, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its readers there are not known here."""
    monkeypatch.setattr(spare_module, "_LOCAL_FILE_SYSTEMS", frozenset({"nfs4"}))
    history.batch()
    assert not build(lake.home, NONE_KEPT).is_recycled


def _changed_unseen(file: Path) -> None:
    """By a client, with nothing in the file's dates that tells of it."""
    before = file.stat()
    with duckdb.connect(file) as connection:
        connection.execute("update fct_embeds set outcome = 'submitted'")
    os.truncate(file, before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _rotten(file: Path) -> None:
    """In blocks that a refresh reads or not, by the disk."""
    before, content = file.stat(), bytearray(file.read_bytes())
    for position in range(3 * 4096 + 50_000, len(content), 100_000):
        content[position] ^= 4
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("damage", [_changed_unseen, _rotten, Path.unlink])
def test_a_spare_that_is_not_as_it_was_published_is_not_continued(
    lake: Lake, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    damage(spare_file(lake.home))
    history.batch()
    report = build(lake.home, NONE_KEPT)
    assert (report.is_full, report.is_recycled) == (False, False)
    check_right(lake, tmp_path / "full", monkeypatch)
    assert not (lake.home.root / "warehouse.failed.duckdb").exists()
    history.batch()
    assert build(lake.home, NONE_KEPT).is_recycled


def test_without_the_record_nothing_is_continued(lake: Lake, history: History) -> None:
    published_record.record_file(lake.home).unlink()
    history.batch()
    assert build(lake.home, NONE_KEPT).is_full
    assert not spare_file(lake.home).exists()


@pytest.mark.parametrize("mended_by", ["full_refresh", "check_everything"])
def test_what_was_published_before_everything_was_looked_at_is_not_continued(
    lake: Lake, history: History, mended_by: str
) -> None:
    """A full build is how wrong rows are mended: they must not come back with an older file."""
    history.batch()
    is_full = mended_by == "full_refresh"
    report = build(lake.home, NONE_KEPT, full_refresh=is_full, check_everything=not is_full)
    assert (report.is_full, report.is_recycled) == (is_full, False)
    assert not spare_file(lake.home).exists()
    recycled = list[bool]()
    for _ in range(3):
        history.batch()
        recycled.append(build(lake.home, NONE_KEPT).is_recycled)
    assert recycled == [False, True, True]


def test_a_spare_that_missed_more_than_copying_costs_is_not_taken(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuing, "_COPIED_IN_THE_TIME", 30)

    def day(number: int, count: int) -> None:
        lake.write([event(f"{number}-{n}", n, "embed_closed", at(60 * 24 * number + n)) for n in range(count)])

    day(0, 120)
    build(lake.home, NONE_KEPT)
    recycled = list[bool]()
    # Of 120 events, copying costs as much as 4.
    for number, count in enumerate((1, 4, 1, 5, 1, 1), 1):
        day(number, count)
        recycled.append(build(lake.home, NONE_KEPT).is_recycled)
    assert recycled == [False, True, True, True, False, True]


def test_a_spare_of_other_models_is_not_taken(
    lake: Lake, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every model that changed since would be made from nothing again."""
    options = keeping(0, embed_analytics_idle_after_hours=2)
    for expected in (True, False, True):
        history.batch()
        report = build(lake.home, options)
        assert (report.is_full, report.is_recycled) == (False, expected)
    assert differences(lake.home, rebuilt(lake, options, tmp_path / "full", monkeypatch)) == {}


def test_a_check_is_narrowed_only_where_it_passed_over_the_rows_of_the_file_that_is_continued(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that failed on the spare's rows and passed since has to look at them again."""
    file = tmp_path / "short.sql"
    file.write_text(
        "-- No session has two events.\n-- table: fct_embeds\n-- severity: warn\n-- scope: embed_id\n"
        "select embed_id from fct_embeds where event_count >= 2\n"
    )
    checks = [*load_checks(), read_check(file)]
    monkeypatch.setattr(build_module, "load_checks", lambda: checks)
    one, two = event("a", 1, "embed_initialized", at(0)), event("b", 1, "embed_closed", at(1))
    looked = list[tuple[bool, bool, bool]]()
    for events in ([one, two], [one], [one], [one], [one]):
        lake.write(events)
        report = build(lake.home, NONE_KEPT)
        (check,) = [check for check in report.checks if check.name == "short"]
        looked.append((report.is_recycled, check.is_whole, check.passed))
    assert looked == [
        (False, True, False),
        (False, True, True),
        # The first file: two events were there.
        (True, True, True),
        (True, False, True),
        (True, False, True),
    ]


def test_the_published_file_has_the_rights_of_the_one_before(lake: Lake, history: History) -> None:
    spare_file(lake.home).chmod(0o644)
    lake.home.warehouse.chmod(0o600)
    modes = list[int]()
    history.batch()

    def look(phase: str) -> None:
        modes.extend(path.stat().st_mode & 0o777 for path in lake.home.root.glob("*building-*") if phase != "recycle")

    assert build(lake.home, NONE_KEPT, on_progress=look).is_recycled
    assert set(modes) == {0o600}
    assert lake.home.warehouse.stat().st_mode & 0o777 == 0o600


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from pipelines.warehouse import continuing, sources
from pipelines.warehouse.build import BuildOptions, build
from pipelines.settings import Settings

lake = pickle.loads(Path(sys.argv[1]).read_bytes())
sources.read_catalogues = lake.catalogues
continuing._COPIED_IN_THE_TIME = 0
left = int(sys.argv[2])


def step(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def hook(name, arguments):
    if name in ("os.rename", "os.remove", "os.link", "os.chmod", "os.chown", "fcntl.fcntl"):
        step()


sys.addaudithook(hook)
report = build(
    lake.home, BuildOptions(Settings.defaults(embed_analytics_keep_warehouses=0), "test"), on_progress=step
)
sys.exit(0 if report.is_recycled else 3)
"""


@pytest.mark.prove
def test_a_build_that_is_killed_before_any_change_of_a_file_leaves_what_is_published_and_the_next_refresh_right(
    lake: Lake, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled, killed, step = tmp_path / "lake.pickle", list[int](), 0
    chance = Random(2)
    while True:
        # Each of the first steps, which take the spare, and of the last ones, which publish; then every few.
        step += chance.choice(seeds_of_steps())
        history.batch()
        pickled.write_bytes(pickle.dumps(lake))
        assert spare_file(lake.home).exists()
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(pickled), str(step)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            check=False,
        )
        reader_process.read(str(lake.home.warehouse))
        if done.returncode != -9:
            assert done.returncode == 0
            break
        killed.append(step)
        history.batch()
        assert not build(lake.home, NONE_KEPT).is_full
        check_right(lake, tmp_path / "full", monkeypatch)
        while not spare_file(lake.home).exists():
            history.batch()
            build(lake.home, NONE_KEPT)
    assert len(killed) >= 5
    check_right(lake, tmp_path / "full", monkeypatch)


def seeds_of_steps() -> list[int]:
    """How many steps to go on from one kill to the next. The long run takes them all."""
    return [1] if examples(8) > 8 else [3, 4, 5]
