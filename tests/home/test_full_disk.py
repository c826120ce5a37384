"""A disk that is really full: one line that names the folder, and nothing left that keeps it full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import steps
from pipelines.home.full_disk import DiskFullError
from pipelines.home.layout import Home
from pipelines.poll.report import SweepRequest
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from tests.home.conftest import settings_at
from tests.terminal.test_cli import fails, run

DISK_BYTES = 48 * 2**20


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(SimulatorOptions(embeds=40, days=4)) as running:
        yield running


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, room: int) -> Path:
    """A file that leaves about so many bytes of the disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            file.truncate(max(0, file.tell() - room))
    return filler


def halves(home: Home) -> list[Path]:
    """What was left half-written."""
    left = [path for path in home.root.rglob("*") if path.name.startswith(".tmp-") or "building" in path.name]
    return left + list(home.root.glob("warehouse.failed*"))


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 2**12, 2**15, 2**17, 2**18, 2**19, 2**20])
def test_a_full_disk_is_said_in_one_line_and_kept_full_by_nothing(
    simulator: RunningSimulator, disk: Path, room: int
) -> None:
    home = Home(disk / "home")
    settings = settings_at(simulator, home.root)

    def refresh() -> None:
        steps.sweep(settings, SweepRequest("refresh"), on_wait=print)
        steps.flatten(settings, on_wait=print)
        steps.publish(settings, on_wait=print, full_refresh=True)

    home.root.mkdir()
    filler = fill(disk, room)
    # A build that failed before takes room, too.
    for _ in range(2):
        with pytest.raises(DiskFullError, match=rf"{disk}/home.* is full") as raised:
            refresh()
        assert "\n" not in str(raised.value)
        assert halves(home) == []
    filler.unlink()
    refresh()
    assert home.warehouse.exists()


@pytest.mark.slow
def test_an_earlier_failed_build_goes_when_the_disk_is_full(simulator: RunningSimulator, disk: Path) -> None:
    home = Home(disk / "home")
    settings = settings_at(simulator, home.root)
    steps.sweep(settings, SweepRequest("refresh"), on_wait=print)
    steps.publish(settings, on_wait=print)
    (home.root / "warehouse.failed.duckdb").write_bytes(bytes(2**20))
    fill(disk, 2**18)
    with pytest.raises(DiskFullError):
        steps.publish(settings, on_wait=print, full_refresh=True)
    assert halves(home) == []


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 2**17, 2**20])
def test_the_command_line_says_a_full_disk_in_one_line(simulator: RunningSimulator, disk: Path, room: int) -> None:
    api = {"ONESCHEMA_API_KEY": simulator.api_key, "ONESCHEMA_API_URL": simulator.url}
    filler = fill(disk, room)
    fails(run(disk, "refresh", **api), str(disk / "home"), "full" if room else "")
    assert halves(Home(disk / "home")) == []
    filler.unlink()
    assert run(disk, "refresh", **api).returncode == 0
