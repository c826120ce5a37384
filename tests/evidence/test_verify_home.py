"""What `verify` says beside a writer, of what is accepted, replaced, removed or waiting, and how it says it."""

import getpass
import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import polars as pl
import pytest

from pipelines import steps
from pipelines.chain import chain
from pipelines.chain.file_links import facts_of_file
from pipelines.errors import ConfigurationError
from pipelines.evidence.accepting import accept_files
from pipelines.evidence.access_log import note_access
from pipelines.evidence.findings import Checked
from pipelines.evidence.verify import verify
from pipelines.home.files import write_parquet
from pipelines.home.layout import Home
from pipelines.home.times import EPOCH
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from pipelines.terminal.verify import run_verify
from tests.evidence.homes import copied, edit, put, relative
from tests.evidence.mutations import lake_files, raw_files
from tests.poll.sweeping import settings_for, sweep
from tests.terminal.test_cli import fails, run

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(home: Settings, tmp_path: Path) -> Settings:
    return copied(home, tmp_path / "home")


def checked(settings: Settings) -> Checked:
    return verify(settings).checked


def first_event_file(home: Home) -> Path:
    return next(path for path in raw_files(home) if home.raw_embed_events in path.parents)


def test_a_running_refresh_is_no_finding(tmp_path: Path) -> None:
    with running_simulator(SimulatorOptions(embeds=10, days=2, days_ahead=4)) as simulator:
        settings = settings_for(simulator, tmp_path / "home")
        clock = simulator.simulation.clock

        def refresh() -> None:
            sweep(settings, clock=lambda: EPOCH + timedelta(seconds=clock.now()))
            steps.flatten(settings, on_wait=pytest.fail)
            steps.publish(settings, on_wait=pytest.fail)

        refresh()
        failures: list[BaseException] = []

        def write() -> None:
            try:
                for _ in range(2):
                    clock.advance(86_400)
                    refresh()
            except BaseException as error:
                failures.append(error)
                raise

        writer = threading.Thread(target=write)
        writer.start()
        found = [checked(settings)]
        while writer.is_alive():
            found.append(checked(settings))
        writer.join()
        assert not failures
        assert [finding for each in found for finding in each.findings] == []
        last = checked(settings)
    assert (last.findings, last.waiting) == ([], [])


def test_what_has_no_name_yet_is_a_note(settings: Settings) -> None:
    home = settings.home
    (link,) = [link for link in chain.end_of(home).links if link.kind == "landed"]
    path = home.root / link.facts["path"]
    path.rename(path.with_name(f".tmp-1-{path.name}"))
    found = checked(settings)
    assert (found.findings, len(found.notes)) == ([], 1)
    # Another append gives it its name first: no later writer would know of it.
    note_access(home, "verify", None, {}, pytest.fail)
    assert path.exists()
    # A file that only has the name of one that is being written is not the one that was linked.
    path.rename(path.with_name(f".tmp-1-{path.name}"))
    assert [finding.reason for finding in checked(settings).findings] == ["is missing"]


def test_a_file_without_a_link_can_be_accepted(settings: Settings) -> None:
    home = settings.home
    added, text = first_event_file(home).with_name("added.parquet"), home.root / "raw" / "note.txt"
    put(added, first_event_file(home).read_bytes())
    put(text, b"a note")
    assert {finding.path for finding in checked(settings).findings} == {relative(home, added), relative(home, text)}
    assert accept_files(home, "from the backup of May", pytest.fail) == [relative(home, added), relative(home, text)]
    found = checked(settings)
    assert [each for each in found.findings if each.layer == "raw"] == []
    (note,) = found.notes
    assert all(word in note for word in ("2 files", getpass.getuser(), "from the backup of May", "added.parquet"))
    assert accept_files(home, "again", pytest.fail) == []


def test_a_file_with_another_name_is_not_accepted(settings: Settings) -> None:
    home = settings.home
    path = first_event_file(home)
    path.rename(path.with_name("other.parquet"))
    assert accept_files(home, "why not", pytest.fail) == []
    (finding,) = [finding for finding in checked(settings).findings if finding.layer == "raw"]
    assert finding.path == relative(home, path)
    assert finding.date == path.parent.name.partition("=")[2]
    assert "has another name now" in finding.reason


def changed(path: Path) -> None:
    edit(path, lambda held: held[:-1] + b"?")


def test_a_replaced_file_must_have_its_new_bytes(settings: Settings) -> None:
    home = settings.home
    path = first_event_file(home)
    (link,) = [link for link in chain.read_links(home) if link.facts.get("path") == relative(home, path)]
    old = path.read_bytes()
    changed(path)
    facts = facts_of_file(home, path) | {"replaces": link.number, "reason": "encrypted"}
    chain.append(home, [("replaced", facts)])
    note_access(home, "verify", None, {}, pytest.fail)
    found = checked(settings)
    assert [each for each in found.findings if each.layer != "lake"] == []
    assert any("1 files of raw were written again" in note and "encrypted" in note for note in found.notes)
    put(path, old)
    assert [each.reason.split(" (")[0] for each in checked(settings).findings] == ["was changed"]
    # It cannot be replaced twice by the same number.
    chain.append(home, [("replaced", facts)])
    assert any("replaces a file that was not there" in each.reason for each in checked(settings).findings)


def test_an_expired_file_must_be_gone(settings: Settings) -> None:
    home = settings.home
    path = next(path for path in raw_files(home) if home.raw_sweeps in path.parents)
    (link,) = [link for link in chain.read_links(home) if link.facts.get("path") == relative(home, path)]
    facts = {name: link.facts[name] for name in ("path", "rows", "sha256")}
    chain.append(home, [("expired", {**facts, "landed": link.number, "reason": "older than 30 days"})])
    held = path.read_bytes()
    # The one who removes it may be at work, or was killed: the next append removes it first.
    assert checked(settings).findings == []
    note_access(home, "verify", None, {}, pytest.fail)
    path.unlink(missing_ok=True)
    found = checked(settings)
    assert found.findings == []
    assert any("1 files of raw were removed" in note and "older than 30 days" in note for note in found.notes)
    put(path, held)
    (finding,) = checked(settings).findings
    assert (finding.path, "says that it was removed" in finding.reason) == (relative(home, path), True)


def test_who_asked_cannot_be_changed(settings: Settings) -> None:
    note_access(settings.home, "evidence", "ticket 12", {}, pytest.fail)
    (path,) = settings.home.raw_access.iterdir()
    held = path.read_bytes()
    put(path, held.replace(b"ticket 12", b"ticket 13"))
    (finding,) = checked(settings).findings
    assert (finding.path, finding.since.after_link) == (relative(settings.home, path), 20)
    put(path, held)
    assert checked(settings).notes == []
    # It may be erased, which is not a finding, and is said.
    path.unlink()
    found = checked(settings)
    assert found.findings == []
    assert any("who it was is not there any more" in note for note in found.notes)


def test_since_when_is_bounded_by_the_last_verification(settings: Settings) -> None:
    home = settings.home
    path = first_event_file(home)
    (link,) = [link for link in chain.read_links(home) if link.facts.get("path") == relative(home, path)]
    head = note_access(home, "verify", None, {"findings": 0}, pytest.fail)
    note_access(home, "verify", None, {"findings": 3}, pytest.fail)
    changed(path)
    (finding,) = checked(settings).findings
    assert finding.since.after_link == head.count - 1 > link.number
    for details in home.raw_access.iterdir():
        details.unlink()
    (finding,) = checked(settings).findings
    assert (finding.since.after, finding.since.after_link) == (link.at, link.number)


def test_what_the_next_refresh_makes_is_waiting(settings: Settings) -> None:
    home = settings.home
    others = settings.model_copy(update={"embed_analytics_column_key_limit": 3})
    found = checked(others)
    assert found.findings == []
    assert len([each for each in found.waiting if each.layer == "lake"]) == 8
    # Raw has more than the lake, then the lake more than the warehouse.
    path = first_event_file(home)
    put(path.with_name("more.parquet"), path.read_bytes())
    accept_files(home, "more", pytest.fail)
    date = path.parent.name.partition("=")[2]
    assert [(each.layer, each.date) for each in checked(settings).waiting] == [("lake", date)]
    steps.flatten(settings, on_wait=pytest.fail)
    found = checked(settings)
    assert found.findings == []
    assert [(each.layer, each.date) for each in found.waiting] == [("warehouse", date)]
    steps.publish(settings, on_wait=pytest.fail)
    found = checked(settings)
    assert (found.findings, found.waiting) == ([], [])


def test_the_way_out_mends_the_lake_and_the_warehouse(settings: Settings) -> None:
    home = settings.home
    path = next(path for path in lake_files(home) if path.name == "events.parquet" and "2026" in path.parent.name)
    rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    metadata = {"embed_analytics": pl.read_parquet_metadata(path)["embed_analytics"]}
    write_parquet(rows.with_columns(embed_id=pl.col("embed_id") + 1), path, metadata)
    put(home.warehouse, home.warehouse.read_bytes())
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute("update stg_embed_events set environment_name = 'x' where lake_partition = '2026-01-27'")
    found = checked(settings)
    (finding,) = [each for each in found.findings if each.layer == "lake"]
    assert (finding.path, finding.date) == (relative(home, path), path.parent.name.partition("=")[2])
    assert f"has {rows.height} rows that raw makes otherwise (embed_id)" in finding.reason
    assert {each.date for each in found.findings if each.layer == "warehouse"} == {None, "2026-01-27"}
    assert f"Remove {relative(home, path)} and run `embed-analytics publish`" in finding.way_out
    path.unlink()
    steps.flatten(settings, on_wait=lambda _: None)
    steps.publish(settings, on_wait=lambda _: None, full_refresh=True)
    found = checked(settings)
    assert (found.findings, found.waiting) == ([], [])


def test_a_copy_elsewhere_is_verified_as_the_home_is(settings: Settings) -> None:
    """Backups keep times, and no inodes."""
    for path in [*raw_files(settings.home), *lake_files(settings.home), settings.home.warehouse]:
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        put(path, path.read_bytes())
        os.utime(path, ns=times)
    found = checked(settings)
    assert (found.findings, found.waiting) == ([], [])


def without_chain(home: Home) -> None:
    for path in chain.link_files(home):
        path.unlink()


def without_raw(home: Home) -> None:
    without_chain(home)
    for path in raw_files(home):
        path.unlink()


@pytest.mark.parametrize("lose", [without_chain, without_raw])
def test_a_lost_chain_is_found(settings: Settings, lose: Callable[[Home], None]) -> None:
    lose(settings.home)
    found = checked(settings)
    assert any(finding.path == "raw/chain" for finding in found.findings)
    settings.home.warehouse.unlink()
    found = checked(settings)
    assert bool(found.findings) == (lose is without_chain), "of nothing, nothing is left"
    assert any("no published warehouse says" in sentence for sentence in found.unproven)


def test_the_command_prints_lines_or_json(settings: Settings) -> None:
    folder = settings.home.root.parent
    done = run(folder, "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("No findings. The chain's head is ")
    first_event_file(settings.home).unlink()
    again = run(folder, "verify", "--rows", "--json", "--reason", "ticket 9")
    assert (again.returncode, again.stderr) == (1, "")
    found: dict[str, Any] = json.loads(again.stdout)
    assert found["head"]["count"] == 21
    (finding,) = found["findings"]
    assert (finding["layer"], finding["reason"], finding["since"]["after_link"]) == ("raw", "is missing", 20)
    details = [orjson.loads(path.read_bytes()) for path in settings.home.raw_access.iterdir()]
    assert {(each["command"], each["reason"]) for each in details} == {("verify", None), ("verify", "ticket 9")}
    fails(run(folder, "verify", "--accept"), "--accept needs --reason")


def command(settings: Settings, **options: Any) -> bool:
    given: dict[str, Any] = {"keys": (), "with_rows": False, "accepts": False, "reason": None, "as_json": False}
    given |= {"anchors": (), "authorities": ()}
    return run_verify(settings, **{**given, **options})


def test_text_from_outside_is_text(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    names = [b"\x1b[31mred\n.parquet", b"\xff.parquet", "[bold]ü.parquet".encode()]
    for name in names:
        (settings.home.raw_embeds / os.fsdecode(name)).write_bytes(b"")
    assert not command(settings)
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("raw: ")]
    assert len(lines) == 3
    assert "\x1b" not in printed
    assert any("\\x1b[31mred\\n.parquet" in line for line in lines)
    assert not command(settings, as_json=True)
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 3
    # No link can hold the name that is not UTF-8.
    assert not command(settings, accepts=True, reason="they are harmless")
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert [line.startswith("raw: ") for line in said.out.splitlines()].count(True) == 1


def test_a_long_list_is_cut_for_people(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(60):
        put(settings.home.raw_embeds / f"{number}.txt", b"")
    assert not command(settings)
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("raw: ") for line in lines].count(True) == 50
    assert "and 10 more findings: --json has them all." in lines


def test_a_home_that_cannot_be_written_to(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    (settings.home.state / "writer.lock").mkdir()
    assert command(settings)
    assert "This verification is not noted in the chain: " in capsys.readouterr().err


def test_mistakes_are_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--key .*missing.pem cannot be read"):
        command(settings, keys=[tmp_path / "missing.pem"])
    with pytest.raises(ConfigurationError, match="does not exist"):
        command(settings.model_copy(update={"embed_analytics_home": tmp_path / "none"}))
