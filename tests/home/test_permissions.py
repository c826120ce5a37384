"""Who can read a home: nobody else, unless a setting or an operator opened it."""

import grp
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home
from pipelines.simulator.server import RunningSimulator
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.build_report import BuildReport
from pipelines.webhooks.segments import create_segment
from tests.home.conftest import Refresh

# A user and a group that are nobody's on this machine: access is tried, and not only modes read.
STRANGER = 65_533

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user and to give files away")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The umask is the process's: as most people have it before, and as it was afterwards."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def group() -> str:
    return next(found.gr_name for found in grp.getgrall() if found.gr_gid not in (0, STRANGER))


def modes(root: Path) -> dict[str, int]:
    paths = [root, *root.rglob("*")]
    return {path.relative_to(root).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in paths}


def can_read(path: Path, *, group: int = STRANGER) -> bool:
    program = ["ls"] if path.is_dir() else ["head", "-c1"]
    done = subprocess.run([*program, path], user=STRANGER, group=group, extra_groups=[], capture_output=True)
    return done.returncode == 0


def warned(report: BuildReport) -> bool:
    return "home_private" in {check.name for check in report.failed_checks}


@pytest.mark.slow
def test_a_new_home_is_its_owners_alone(simulator: RunningSimulator, reachable: Path) -> None:
    home = Home(reachable / "above" / "home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA", "EMBED_"))}
    environment |= {"ONESCHEMA_API_KEY": simulator.api_key, "ONESCHEMA_API_URL": simulator.url}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "refresh"],
        env={**environment, "EMBED_ANALYTICS_HOME": str(home.root)},
        cwd=reachable,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "home_private" not in done.stdout
    found = modes(home.root)
    assert {
        "home.json",
        "warehouse.duckdb",
        "state/poll.sqlite",
        "state/writer.lock",
        "dagster/history",
    } <= found.keys()
    assert {path: mode for path, mode in found.items() if mode & 0o077} == {}
    # What lies above is not ours.
    assert stat.S_IMODE(home.root.parent.stat().st_mode) == 0o755


def test_nothing_is_wider_while_it_is_written(reachable: Path) -> None:
    home = Home(reachable / "home")
    open_home(home)
    path, descriptor = create_segment(home.webhook_journal)
    os.close(descriptor)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.umask(0o077) == 0o077


@pytest.mark.parametrize(
    ("root", "folder", "file"),
    [(0o700, 0o700, 0o600), (0o750, 0o750, 0o640), (0o755, 0o755, 0o644), (0o710, 0o700, 0o600), (0o711, 0o700, 0o600)],
)
def test_a_home_that_was_opened_stays_as_it_was_set(
    refresh: Refresh, reachable: Path, root: int, folder: int, file: int
) -> None:
    home = Home(reachable / "home")
    home.root.mkdir()
    home.root.chmod(root)
    report = refresh(home.root)
    found = modes(home.root)
    assert found.pop(".") == root
    assert set(found.values()) == {folder, file}
    assert found["raw"] == folder
    assert found["warehouse.duckdb"] == file
    assert warned(report) == bool(root & 0o001)


@pytest.mark.slow
@as_root
def test_a_home_that_everybody_could_read_is_still_readable(refresh: Refresh, reachable: Path) -> None:
    home = Home(reachable / "home")
    home.root.mkdir(mode=0o755)
    assert warned(refresh(home.root))
    assert can_read(home.warehouse)


@pytest.mark.slow
@as_root
@pytest.mark.parametrize("is_opened_later", [False, True])
def test_a_group_reads_the_lake_and_the_published_file_and_nothing_else(
    refresh: Refresh, reachable: Path, group: str, *, is_opened_later: bool
) -> None:
    home = Home(reachable / "home")
    if is_opened_later:
        refresh(home.root)
    report = refresh(home.root, embed_analytics_group=group)
    assert not warned(report)
    found = modes(home.root)
    assert found["."] == 0o710
    shared = {path: mode for path, mode in found.items() if mode & 0o070 and path != "."}
    assert shared.pop("warehouse.duckdb") == 0o640
    # Earlier published files are the same files under other names, in a folder that the group cannot enter.
    assert found.get("warehouses", 0o700) == 0o700
    shared = {path: mode for path, mode in shared.items() if not path.startswith("warehouses/")}
    assert shared == {path: mode for path, mode in found.items() if path.split("/")[0] == "lake"}
    assert {0o2750 if (home.root / path).is_dir() else 0o640 for path in shared} == set(shared.values())

    number = grp.getgrnam(group).gr_gid
    events = next(home.lake_embed_events.rglob("*.parquet"))
    for path in (home.warehouse, events, home.lake, events.parent):
        assert can_read(path, group=number), path
        assert not can_read(path), path
    for path in (home.root, home.root / "raw", next(home.raw_embed_events.rglob("*.parquet")), home.root / "home.json"):
        assert not can_read(path, group=number), path


@pytest.mark.slow
@as_root
def test_what_an_operator_set_on_the_published_file_survives(refresh: Refresh, reachable: Path, group: str) -> None:
    home = Home(reachable / "home")
    refresh(home.root)
    number = grp.getgrnam(group).gr_gid
    home.warehouse.chmod(0o640)
    os.chown(home.warehouse, -1, number)
    before = home.warehouse.stat()
    refresh(home.root)
    after = home.warehouse.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_gid) == (before.st_mode, number)


@pytest.mark.slow
@as_root
def test_a_file_that_cannot_be_given_to_its_group_is_not_published(reachable: Path, group: str) -> None:
    """Another user's run, who is not in the group that may read the published file."""
    home = Home(reachable / "home")
    build(home, BuildOptions())
    home.warehouse.chmod(0o640)
    os.chown(home.warehouse, -1, grp.getgrnam(group).gr_gid)
    for path in (home.root, *home.root.rglob("*")):
        os.chown(path, STRANGER, -1)
    published = home.warehouse.read_bytes()
    # The interpreter may lie where the other user cannot go: a first build imports all that the second one needs.
    code = (
        "import os; from pathlib import Path; from pipelines.home.layout import Home\n"
        "from pipelines.errors import ConfigurationError; from pipelines.warehouse.build import *\n"
        f"build(Home(Path({str(reachable / 'other')!r})), BuildOptions())\n"
        f"os.setgid({STRANGER}); os.setgroups([]); os.setuid({STRANGER})\n"
        f"try: build(Home(Path({str(home.root)!r})), BuildOptions())\n"
        "except ConfigurationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert group in done.stdout, done
    assert "member" in done.stdout
    assert home.warehouse.read_bytes() == published


def test_a_group_that_there_is_not(refresh: Refresh, reachable: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"EMBED_ANALYTICS_GROUP.*no-such-group"):
        refresh(reachable / "home", embed_analytics_group="no-such-group")
    assert not (reachable / "home").exists()


@pytest.mark.slow
def test_a_published_file_that_is_a_link_is_not_replaced(refresh: Refresh, reachable: Path) -> None:
    home = Home(reachable / "home")
    refresh(home.root)
    elsewhere = reachable / "elsewhere.duckdb"
    home.warehouse.rename(elsewhere)
    home.warehouse.symlink_to(elsewhere)
    published = elsewhere.read_bytes()
    with pytest.raises(ConfigurationError, match="symbolic link"):
        refresh(home.root)
    assert home.warehouse.readlink() == elsewhere
    assert elsewhere.read_bytes() == published


def test_a_home_may_be_a_link(refresh: Refresh, reachable: Path) -> None:
    (reachable / "elsewhere").mkdir(mode=0o700)
    (reachable / "home").symlink_to(reachable / "elsewhere")
    assert refresh(reachable / "home").tables["fct_embeds"] > 0
    assert (reachable / "elsewhere" / "warehouse.duckdb").exists()
