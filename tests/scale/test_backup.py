"""docs/deploy/backup.sh beside a receiver and refreshes, killed at each instant; a restore gives the same warehouse."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from pipelines import steps
from pipelines.chain import chain
from pipelines.home.layout import Home
from pipelines.poll.report import SweepRequest
from pipelines.raw.landing import raw_files
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator, running_simulator
from pipelines.webhooks.journal import JournalLimits
from pipelines.webhooks.records import decode
from tests.orchestration.dev_server import clean_environment
from tests.poll.sweeping import QUICK, raw_events, settings_for
from tests.scale import documented
from tests.scale.documented import replaced
from tests.scale.instants import Answer, StoppedScripts
from tests.warehouse.compare import differences
from tests.webhooks.receiving import RunningReceiver, full_events, running_receiver

pytestmark = pytest.mark.scale

# The programs that backup.sh starts, and which time it is.
JOURNAL, CHAIN, RAW, OWNER, SYNC = ("rsync", 1), ("rsync", 2), ("rsync", 3), ("rsync", 4), ("sync", 1)
# Where a refresh lands events and removes segments, where backup.sh is killed, and what becomes of that program.
KILLS: list[tuple[tuple[str, int], tuple[str, int], Answer]] = [
    (JOURNAL, JOURNAL, "die"),
    (JOURNAL, JOURNAL, "half"),
    (JOURNAL, CHAIN, "die"),
    (CHAIN, CHAIN, "half"),
    (CHAIN, RAW, "die"),
    (RAW, RAW, "half"),
    (RAW, OWNER, "die"),
    (OWNER, SYNC, "die"),
    (SYNC, ("rm", 1), "die"),
    (RAW, ("rm", 2), "die"),
    (OWNER, ("find", 1), "die"),
]
# sync would wait for all that others write on this machine.
RUN_AS = {"rsync": "rsync", "sync": "true", "rm": "rm", "find": "find"}

ANNOTATIONS = "date,text,template\n2026-01-27,Release 4.2,\n"
HOUR = 3600


@dataclass
class Account:
    """A home that a receiver and refreshes write to, its copy, and the events that were answered 200."""

    home: Home
    copy: Path
    simulator: RunningSimulator
    receiver: RunningReceiver
    pushes: Iterator[bytes]
    settings: Settings
    scripts: StoppedScripts
    acknowledged: set[str] = field(default_factory=set[str])

    def push(self, count: int = 6) -> None:
        for _ in range(count):
            body = next(self.pushes)
            assert self.receiver.push(body).status_code == 200
            self.acknowledged.add(orjson.loads(body)["uuid"])

    def refresh(self) -> None:
        """The sweep of a refresh, an hour later: it lands the journal, and what the API has."""
        self.simulator.advance(HOUR)
        steps.sweep(self.settings, SweepRequest("refresh"), on_wait=lambda _: None, retry=QUICK)

    def back_up(self, act: Callable[[str], Answer]) -> int:
        return self.scripts.run(backup_of(self.home.root, self.copy), act)


@dataclass
class Acts:
    """A refresh at one instant of a backup, beside it or before it goes on, and a kill at another."""

    account: Account
    refresh_at: tuple[str, int]
    is_beside: bool
    die_at: tuple[str, int] | None = None
    death: Answer = "die"
    programs: list[str] = field(default_factory=list[str])
    refreshes: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def __call__(self, program: str) -> Answer:
        self.programs.append(program)
        instant = (program, self.programs.count(program))
        if instant == self.refresh_at:
            self.account.push()
            refresh = threading.Thread(target=self.account.refresh)
            refresh.start()
            self.refreshes.append(refresh)
            if not self.is_beside:
                refresh.join()
        return self.death if instant == self.die_at else "go"

    def end(self) -> None:
        assert self.refreshes
        for refresh in self.refreshes:
            refresh.join()


def backup_of(home: Path, copy: Path) -> str:
    line = documented.command("backup.sh")
    return replaced(
        line,
        {
            "docs/deploy": str(documented.FOLDER),
            "/var/lib/embed-analytics": str(home),
            "/mnt/backup/embed-analytics": str(copy),
        },
    )


def held(root: Path) -> set[str]:
    """The uuids of the events that a home or its copy holds, in raw or in the journal."""
    found = set(raw_events(root)["event_uuid"].to_list())
    for segment in (root / "webhooks").glob("*.journal"):
        for line in segment.read_bytes().splitlines(keepends=True):
            record = decode(line)
            # The end of a segment that was being written may be missing.
            if record is not None:
                assert isinstance(record.event, dict)
                found.add(str(record.event["uuid"]))
    return found


def linked(root: Path) -> set[str]:
    """The files that the chain of a home or of its copy has a link for."""
    return {link.facts["path"] for link in chain.read_links(Home(root)) if link.kind == "landed"}


def raw_names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in raw_files(Home(root))}


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    home = Home(tmp_path / "home")
    options = SimulatorOptions(embeds=60, days=4, days_ahead=6, seed=8)
    with (
        running_simulator(options) as simulator,
        # A segment for an event or two, so that refreshes remove some and leave one.
        running_receiver(home.root, limits=JournalLimits(segment_bytes=1_000)) as receiver,
        StoppedScripts(
            tmp_path / "programs", {"rsync": "rsync", "sync": "true", "rm": "rm", "find": "find"}
        ) as scripts,
    ):
        settings = settings_for(simulator, home.root, embed_analytics_webhook_secrets=())
        # Events that the API shows only later, so that they are held by the journal alone.
        pushes = iter(sorted(full_events(simulator.simulation), key=len))
        simulator.advance(-12 * HOUR)
        yield Account(home, tmp_path / "copy", simulator, receiver, pushes, settings, scripts)


def test_a_restored_backup_gives_the_same_warehouse(account: Account, tmp_path: Path) -> None:
    account.push()
    account.refresh()
    (account.home.root / "annotations.csv").write_text(ANNOTATIONS, encoding="utf-8")
    assert account.back_up(lambda _: "go") == 0
    for number, (refresh_at, instant, death) in enumerate(KILLS):
        # Of what the copy has, some leaves the journal before the backup begins, and more while it is at work.
        account.refresh()
        before = held(account.copy)
        killed = Acts(account, refresh_at, number % 2 == 0, instant, death)
        assert account.back_up(killed) < 0, f"it did not come to {instant}"
        assert held(account.copy) >= before, f"killed at {instant}, {death}"
        # These are in the journal alone when the backup begins, and are landed while it is at work.
        account.push()
        known = set(account.acknowledged)
        again = Acts(account, (JOURNAL, CHAIN, RAW, OWNER, SYNC)[number % 5], number % 3 == 0)
        assert account.back_up(again) == 0
        assert held(account.copy) >= known | before, f"after it was killed at {instant}, {death}"
        assert linked(account.copy) <= raw_names(account.copy), "a link without its file"
        for acts in (killed, again):
            acts.end()
    # Nobody writes any more but the receiver, which has a segment open.
    account.push(1)
    assert account.back_up(lambda _: "go") == 0
    assert held(account.copy) == held(account.home.root) >= account.acknowledged
    assert linked(account.copy) == linked(account.home.root) == raw_names(account.copy)
    segments = {path.name for path in account.home.webhook_journal.glob("*.journal")}
    assert {path.name for path in (account.copy / "webhooks").iterdir()} == segments != set()
    _is_restored(account, tmp_path / "restored")


def _is_restored(account: Account, restored: Path) -> None:
    environment = clean_environment()
    line = documented.command("restore.sh")
    others = {"docs/deploy": str(documented.FOLDER), "/mnt/backup/embed-analytics": str(account.copy)}
    documented.run(replaced(line, {**others, "/var/lib/embed-analytics": str(restored)}), account.copy, environment)
    assert restored.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in restored.iterdir()} == {"raw", "webhooks", "home.json", "annotations.csv"}
    publish = replaced(documented.command("embed-analytics publish"), {"/opt/embed-analytics/.venv/bin/": ""})
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    settings = {"EMBED_ANALYTICS_HOME": str(restored), "ONESCHEMA_ENVIRONMENT": "Production", "PATH": path}
    documented.run(publish, account.copy, environment | settings)
    steps.receive(account.settings, on_wait=pytest.fail)
    steps.flatten(account.settings, on_wait=pytest.fail)
    steps.publish(account.settings, on_wait=pytest.fail, full_refresh=True)
    assert differences(Home(restored), account.home) == {}
    assert held(restored) == held(account.home.root)


def script(name: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    command = [str(documented.FOLDER / name), *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_not_a_home_or_another_one_is_not_copied(tmp_path: Path) -> None:
    home, copy = tmp_path / "my home", tmp_path / "my copy"
    home.mkdir()
    assert "neither raw/ nor webhooks/" in script("backup.sh", home, copy).stderr
    assert not copy.exists()
    landed = home / "raw" / "embeds" / "a.parquet"
    landed.parent.mkdir(parents=True)
    landed.write_text("rows", encoding="utf-8")
    (landed.parent / ".tmp-1-b.parquet").write_text("half of it", encoding="utf-8")
    (home / "home.json").write_text("{}", encoding="utf-8")
    (home / ".env").write_text("secret", encoding="utf-8")
    assert script("backup.sh", home, copy).returncode == 0
    copied = copy / "raw" / "embeds" / "a.parquet"
    assert {path for path in copy.rglob("*") if path.is_file()} == {copied, copy / "home.json"}
    # What the disk damages later stays out of the copy.
    landed.write_text("nonsense", encoding="utf-8")
    assert script("backup.sh", home, copy).returncode == 0
    assert copied.read_text("utf-8") == "rows"
    (home / "home.json").write_text('{"organisation": "another"}', encoding="utf-8")
    assert "belongs to another home" in script("backup.sh", home, copy).stderr
    (home / "raw").rename(tmp_path / "unmounted")
    (home / "webhooks").mkdir()
    assert "is its disk there?" in script("backup.sh", home, copy).stderr
    assert copied.exists()


def test_only_an_empty_home_is_restored_and_a_killed_restore_goes_on(tmp_path: Path) -> None:
    copy, home = tmp_path / "copy", tmp_path / "home"
    home.mkdir()
    assert "neither raw/ nor webhooks/" in script("restore.sh", copy, home).stderr
    (copy / "raw").mkdir(parents=True)
    (copy / "raw" / "a.parquet").write_text("rows", encoding="utf-8")
    (home / "home.json").write_text("{}", encoding="utf-8")
    assert "is not empty" in script("restore.sh", copy, home).stderr
    assert {path.name for path in home.iterdir()} == {"home.json"}
    # As a restore leaves it that was killed.
    (home / ".restoring").touch()
    assert script("restore.sh", copy, home).returncode == 0
    assert (home / "raw" / "a.parquet").read_text("utf-8") == "rows"
    assert "is not empty" in script("restore.sh", copy, home).stderr
