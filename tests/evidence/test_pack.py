"""A session's evidence pack: what is in it, what is not, and that somebody else can verify it."""

import ast
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import orjson
import polars as pl
import pytest
from typer.testing import CliRunner

from pipelines.chain import chain
from pipelines.errors import ConfigurationError, PermanentError
from pipelines.evidence import pack_verifier
from pipelines.evidence.pack import Pack, write_pack
from pipelines.home.files import write_parquet
from pipelines.home.sealed import find_damage
from pipelines.settings import Settings
from pipelines.terminal.cli import app
from pipelines.warehouse.published import connect_published
from tests.evidence.account import ASKED_BEFORE, OTHERS, Account
from tests.evidence.third_party import members_of, problem_of

pytestmark = pytest.mark.slow

# As a terminal gives what is not UTF-8, too.
REASON = "audit <b>4</b>, \u202ereversed \udcff"


def packed(account: Account, out: Path, settings: Settings | None = None) -> Pack:
    return write_pack(settings or account.settings, account.embed_id, out, REASON, pytest.fail)


def copied(account: Account, tmp_path: Path) -> Settings:
    """A home of the same files, for a test that changes them."""
    shutil.copytree(account.root, tmp_path / "home")
    return account.settings.model_copy(update={"embed_analytics_home": tmp_path / "home"})


@pytest.fixture(scope="module")
def pack(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "session.zip"
    packed(account, path)
    return path


def verified(pack: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """verify.py of the pack, by a Python that has nothing but its standard library, in another folder."""
    folder = pack.parent / "elsewhere"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(pack) as file:
        file.extract("verify.py", folder)
    python = [str(Path(sys.executable).resolve()), "-I", "-S", "verify.py"]
    command = [*python, str(pack), *arguments]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, encoding="utf-8", check=False)


def test_a_bare_python_verifies_it(account: Account, pack: Path) -> None:
    heads = json.loads(dict(members_of(pack))["heads.json"])
    done = verified(pack, "--head", heads["head"]["digest"], "--key", account.public_key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "OK."
    assert f"signed by {account.public_key}" in done.stdout
    assert "audit <b>4</b>, \\u202ereversed \\udcff" in done.stdout
    # The head before the pack, which somebody noted, is one of its links, too.
    assert verified(pack, "--head", list(chain.read_links(account.settings.home))[-4].head.digest).returncode == 0
    for wrong in (["--head", "0" * 64], ["--key", "0" * 64], ["--key", heads["head"]["digest"]]):
        done = verified(pack, *wrong)
        assert done.returncode == 1
        assert done.stdout.startswith("NOT OK: ")


def test_its_program_is_the_one_of_the_repository_and_small() -> None:
    source = Path(pack_verifier.__file__).read_text(encoding="utf-8")
    assert len(source.splitlines()) < 200
    tree = ast.parse(source, feature_version=(3, 9))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    modules = {node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module is not None}
    assert names | modules <= sys.stdlib_module_names | {"__future__"}


def test_somebody_else_verifies_it(account: Account, pack: Path) -> None:
    members = members_of(pack)
    assert problem_of(members, chain.head_of(account.settings.home).digest, account.public_key) is None
    assert problem_of(members, "0" * 64) == "another chain"
    assert problem_of(members, None, "0" * 64) == "not signed by that key"


def test_it_has_every_row_of_the_session_and_no_other(account: Account, pack: Path) -> None:
    rows = list(map(orjson.loads, dict(members_of(pack))["rows.jsonl"].splitlines()))
    events = [row for row in rows if "event_uuid" in row]
    held = account.rows()
    assert sorted(row["digest"] for row in events) == sorted(held["digest"].to_list())
    assert {row["source"] for row in events} == {"api", "webhook"}
    assert {"event-hostile", "event-odd", "event-unreadable"} <= {row["event_uuid"] for row in events}
    # Two versions by webhook of what the API said, too.
    assert max(held["event_uuid"].value_counts()["count"]) == 3
    embeds = pl.concat([pl.read_parquet(path) for path in account.settings.home.raw_embeds.glob("*.parquet")])
    assert len(rows) - len(events) == embeds.filter(pl.col("embed_id") == account.embed_id).height > 0


def test_nothing_of_anybody_else_is_in_it(account: Account, pack: Path) -> None:
    """Neither their claims nor who asked about them, in any member."""
    mine = account.rows()
    strangers: set[str] = {OTHERS, ASKED_BEFORE, "event-nobodys"}
    for path in account.settings.home.raw_embed_events.glob("*/*.parquet"):
        frame = pl.read_parquet(path, hive_partitioning=False).filter(~pl.col("digest").is_in(mine["digest"].implode()))
        for claims, uuid in frame.select("claims", "event_uuid").iter_rows():
            said = orjson.loads(claims or "{}")
            strangers |= {uuid, str(said.get("user_id")), str(said.get("email")), str(said.get("trace_id"))}
    own = {str(value) for text in mine["claims"] if text for value in orjson.loads(text).values()}
    strangers -= own | {"None", *mine["event_uuid"].to_list()}
    assert len(strangers) > 100
    for name, content in members_of(pack):
        text = content.decode()
        assert not {stranger for stranger in strangers if stranger in text}, name


def test_the_same_home_makes_the_same_bytes(account: Account, tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    packed(account, first)
    packed(account, second)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    members = [dict(members_of(path)) for path in (first, second)]
    # Who asked and when is another link of a longer chain.
    differing = {name for name in members[0] if members[0][name] != members[1][name]}
    assert differing == {"access.json", "session.html", "session.txt", "links.jsonl", "heads.json"}
    with zipfile.ZipFile(first) as file:
        infos = [(info.date_time, info.external_attr >> 16, info.create_system) for info in file.infolist()]
    assert infos == [((1980, 1, 1, 0, 0, 0), 0o100600, 3)] * len(pack_verifier.MEMBERS)
    assert [name for name, _ in members_of(first)] == pack_verifier.MEMBERS


def test_the_page_shows_the_published_rows(account: Account, pack: Path) -> None:
    members = dict(members_of(pack))
    text = members["session.txt"].decode()
    with connect_published(account.settings.home) as connection:
        uuids = connection.execute(
            "select event_uuid from rpt_embed_timeline where embed_id = ? order by event_number", [account.embed_id]
        ).fetchall()
        (counted,) = connection.execute(
            "select sum(error_count) from stg_validation_errors where embed_id = ?", [account.embed_id]
        ).fetchone() or (None,)
    shown = [line.removeprefix("  event uuid: ") for line in text.splitlines() if line.startswith("  event uuid: ")]
    assert shown[: len(uuids)] == [uuid for (uuid,) in uuids]
    # What could not be read names its event, too.
    assert shown[len(uuids) :] == ["event-unreadable"]
    _, _, errors = text.partition("Errors of each event")
    errors, _, _ = errors.partition("Errors when they")
    assert sum(int(line.split()[-1]) for line in errors.splitlines() if line.startswith("  error count")) == counted
    assert all(uuid in members["session.html"].decode() for (uuid,) in uuids)
    about = json.loads(members["about.json"])
    assert (about["api_url"], about["claim_policy"]) == (account.settings.api_url, {"email": "drop"})
    assert about["coverage"]
    assert about["completeness"]


def test_the_command_says_what_it_wrote(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBED_ANALYTICS_HOME", str(account.root))
    command = ["evidence", "--embed", str(account.embed_id), "--out", "new/session.zip"]
    assert CliRunner().invoke(app, command).exit_code == 2
    assert not (tmp_path / "new").exists()
    done = CliRunner().invoke(app, [*command, "--reason", REASON])
    assert done.exit_code == 0
    # The key is not set in this environment, so nobody signed.
    head = chain.head_of(account.settings.home).digest
    assert str(tmp_path / "new" / "session.zip") in done.output
    assert head in done.output
    assert problem_of(members_of(tmp_path / "new" / "session.zip"), head) is None
    assert problem_of(members_of(tmp_path / "new" / "session.zip"), head, account.public_key) is not None
    asked = next(link for link in reversed(list(chain.read_links(account.settings.home))) if link.kind == "access")
    details = orjson.loads((account.root / "raw" / "access" / f"{asked.facts['details']}.json").read_bytes())
    assert details["about"] == {"embed": account.embed_id, "out": str(tmp_path / "new" / "session.zip")}
    assert details["reason"] == REASON.replace("\udcff", "\\udcff")


def test_without_a_warehouse_the_proof_is_whole(account: Account, tmp_path: Path) -> None:
    settings = copied(account, tmp_path)
    settings.home.warehouse.unlink()
    shutil.rmtree(settings.home.lake)
    whole, bare = tmp_path / "whole.zip", tmp_path / "bare.zip"
    packed(account, whole)
    packed(account, bare, settings)
    members = dict(members_of(bare))
    assert problem_of(members_of(bare)) is None
    assert "There is no warehouse" in members["session.txt"].decode()
    assert json.loads(members["about.json"])["coverage"] is None
    assert members["rows.jsonl"] == dict(members_of(whole))["rows.jsonl"]


def test_what_cannot_be_proven_is_left_out_and_named(account: Account, tmp_path: Path) -> None:
    """A damaged file, one with other rows than its link says, and one that nobody landed."""
    settings = copied(account, tmp_path)
    home = settings.home
    own = [
        path
        for path in sorted(home.raw_embed_events.glob("*/*.parquet"))
        if account.embed_id in pl.read_parquet(path, hive_partitioning=False)["embed_id"]
    ]
    assert len(own) >= 3
    damaged, changed, copy = own[0], own[1], own[2].with_name("copy.parquet")
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    frame = pl.read_parquet(changed, hive_partitioning=False)
    write_parquet(frame.with_columns(trigger_type=pl.lit("api-")), changed)
    assert find_damage(changed) is None
    shutil.copyfile(own[2], copy)
    pack = packed(account, tmp_path / "session.zip", settings)
    names = {left.file: left.reason for left in pack.left_out}
    assert names.keys() == {path.relative_to(home.root).as_posix() for path in (damaged, changed, copy)}
    members = dict(members_of(pack.path))
    assert problem_of(members_of(pack.path)) is None
    assert {left["file"] for left in json.loads(members["about.json"])["left_out"]} == set(names)
    assert all(name in members["session.txt"].decode() for name in names)
    proven = {proof["file"] for proof in json.loads(members["proofs.json"])}
    assert proven
    assert not proven & set(names)


def test_what_is_wrong_is_said_with_the_way_out(account: Account, tmp_path: Path) -> None:
    settings, out = copied(account, tmp_path), tmp_path / "session.zip"
    for embed_id, path, reason, error, said in (
        (account.embed_id, out, " ", ConfigurationError, "--reason is empty"),
        (account.embed_id, tmp_path, "why", ConfigurationError, "name a file"),
        (account.embed_id, Path("/proc/session.zip"), "why", ConfigurationError, "cannot be written"),
        (1, out, "why", PermanentError, "embed-analytics refresh"),
        (2**63, out, "why", ConfigurationError, "--embed 9223372036854775808"),
    ):
        with pytest.raises(error, match=said):
            write_pack(settings, embed_id, path, reason, pytest.fail)
    assert not out.exists()
    files = chain.link_files(settings.home)
    content = files[-1].read_bytes()
    files[-1].write_bytes(content.replace(b'"previous":"', b'"previous":"0', 1))
    with pytest.raises(PermanentError, match=r"is broken .* `embed-analytics verify` says where"):
        packed(account, out, settings)
    for path in chain.link_files(settings.home):
        path.unlink()
    with pytest.raises(PermanentError, match="no chain yet: `embed-analytics publish`"):
        packed(account, out, settings)
    empty = settings.model_copy(update={"embed_analytics_home": tmp_path / "empty"})
    with pytest.raises(PermanentError, match="no chain yet"):
        packed(account, out, empty)
    assert not (tmp_path / "empty").exists()


def test_a_pack_is_there_whole_or_not_at_all(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "session.zip"
    packed(account, out)
    held = hashlib.sha256(out.read_bytes()).digest()

    def full(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == tmp_path:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        packed(account, out)
    assert hashlib.sha256(out.read_bytes()).digest() == held
    assert list(tmp_path.iterdir()) == [out]
