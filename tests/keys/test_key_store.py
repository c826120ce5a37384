"""A keyring: what it encrypts comes back, whatever comes between; what is erased or lost does not."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.home.layout import Home
from pipelines.keys.cipher import KEY_BYTES, Cipher
from pipelines.keys.key_store import KeysDamagedError, KeyStore, KeysUnavailableError, create
from pipelines.keys.keyrings import Keyrings, open_or_create
from pipelines.keys.stored_texts import MARK, Encrypted, guarded, read
from pipelines.keys.vault import Vault
from tests.proving import examples

ROOT = Path(__file__).parents[2]

SCALARS = st.one_of(
    st.booleans().map(json.dumps),
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.text().map(lambda text: json.dumps(text, ensure_ascii=False)),
).filter(lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text)
PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


@given(SCALARS, PATHS, PATHS, KEYS, KEYS)
def test_a_value_comes_back_by_its_own_key_and_at_its_own_path_alone(
    value: str, path: str, other_path: str, key: bytes, other_key: bytes
) -> None:
    cipher = Cipher(key, key)
    body = cipher.encrypt(path, value)
    assert cipher.decrypt(path, body) == value
    assert cipher.encrypt(path, value) == body, "a sweep would land it again"
    if other_path != path:
        assert cipher.decrypt(other_path, body) is None
        assert cipher.encrypt(other_path, value)[:16] != body[:16], "the same nonce for another message"
    if other_key != key:
        assert Cipher(other_key, key).decrypt(path, body) is None
    # All that shows of the value is its length, in steps of 32 bytes.
    steps = -(-len(value.encode()) // 32)
    assert len(body) == -(-(12 + 32 * steps + 16) * 4 // 3)


@given(PATHS, st.integers(0), st.integers(1, 255))
def test_a_changed_body_is_not_a_value(path: str, at: int, by: int) -> None:
    cipher = Cipher(bytes(KEY_BYTES), bytes(KEY_BYTES))
    body = cipher.encrypt(path, '"ana"')
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at %= len(body)
    changed = body[:at] + letters[(letters.index(body[at]) + by) % 64] + body[at + 1 :]
    # Of the last letter two or four bits are padding.
    if changed != body and at < len(body) - 1:
        assert cipher.decrypt(path, changed) is None
    assert cipher.decrypt(path, body[:at]) is None


NAMED = ["0" * 16, "a1" * 8]
LOOKALIKES = st.builds(
    "".join,
    st.lists(st.sampled_from([MARK, *NAMED, "b" * 16, ":", "text:", "k" * 16, "AAAA", '"', "\\"]), max_size=9),
)


@given(st.one_of(LOOKALIKES, st.text()))
def test_no_text_of_a_customer_is_read_as_anything_but_itself(text: str) -> None:
    assert read(guarded(text, NAMED), NAMED) == text
    # In homes without keyrings nothing is changed.
    assert guarded(text, ()) == text


def test_a_stored_text_is_read_where_its_keyring_is_named() -> None:
    stored = Encrypted("a1" * 8, "k" * 16, "AAAA")
    assert read(str(stored), NAMED) == stored
    assert read(str(stored), ["0" * 16]) == str(stored)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir(mode=0o700)
    return Home(tmp_path / "home")


def test_a_keyring_is_private_and_named_in_raw(home: Home) -> None:
    before = os.umask(0)
    try:
        store = open_or_create(home)
        store.key_of("ana")
    finally:
        os.umask(before)
    assert home.keys.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.keys.iterdir()} == {0o600}
    (named,) = home.raw_keyrings.iterdir()
    assert named.name == store.keyring


def test_two_copies_of_this_process_agree_on_every_new_subject(home: Home) -> None:
    """Two processes make keys for the same subjects at the same time, in a home that has no keyring yet."""
    program = """
import sys
from pathlib import Path
from pipelines.home.layout import Home
from pipelines.keys.vault import Vault
sys.stdin.read(1)
vault = Vault(Home(Path(sys.argv[1])), encrypts=True)
print(*(vault.sealer(f"user {n}").encrypted("p", '"x"') for n in range(200)))
vault.flush()
"""
    command = [sys.executable, "-c", program, str(home.root)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)
    ]
    for process in running:
        assert process.stdin
        process.stdin.write("!")
        process.stdin.flush()
    said = [process.communicate()[0] for process in running]
    assert len(said[0].split()) == 200
    assert said[0] == said[1] == said[2]
    assert len(list(home.raw_keyrings.iterdir())) == 1
    assert [path.name for path in home.keys.glob("*.sqlite")] == ["keys.sqlite"]


def test_what_was_encrypted_before_a_kill_can_be_read_after_it(home: Home) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from pipelines.home.layout import Home
from pipelines.keys.vault import Vault
vault = Vault(Home(Path(sys.argv[1])), encrypts=True)
text = vault.sealer("user 1").encrypted("p", "1.50")
vault.flush()
print(text, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, str(home.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    text = done.stdout.strip()
    assert Vault(home, encrypts=False).read(text, "p") == ("1.50", True)
    assert Vault(home, encrypts=True).sealer("user 1").encrypted("p", "1.50") == text


def key_bytes(home: Home, subject: str) -> list[bytes]:
    store = open_or_create(home)
    key_id = store.key_of(subject).key_id
    with sqlite3.connect(home.key_store) as connection:
        row = connection.execute("select cipher_key, nonce_key from keys where key_id = ?", (key_id,)).fetchone()
    connection.close()
    return list(row)


def test_the_bytes_of_erased_keys_are_in_no_file(home: Home) -> None:
    store = open_or_create(home)
    for number in range(500):
        store.key_of(f"user {number}")
    wanted = [*key_bytes(home, "user 250"), *key_bytes(home, "user 499")]
    assert any(each in path.read_bytes() for path in home.keys.iterdir() for each in wanted)
    store.erase("user 250")
    store.erase("user 499")
    store.erase("somebody who never came")
    for path in home.keys.iterdir():
        assert not any(each in path.read_bytes() for each in wanted), path
    # A subject that was erased has no key again, under the same id, and another one keeps its key.
    assert store.key_of("user 250").cipher is store.key_of("somebody who never came").cipher is None
    assert store.key_of("user 251").cipher is not None


def test_another_process_that_had_the_key_in_use_forgets_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.keys.key_store._LOOKS_EVERY_SECONDS", 0)
    receiver = Vault(home, encrypts=True)
    before = receiver.sealer("user 1").encrypted("p", "1")
    open_or_create(home).erase("user 1")
    after = receiver.sealer("user 1").encrypted("p", "1")
    assert after != before
    assert after.endswith(":")
    reader = Vault(home, encrypts=False)
    assert reader.read(before, "p") == reader.read(after, "p") == (None, True)


def test_an_erasure_that_another_reader_holds_up_is_not_said_to_be_done(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.keys.key_store._BUSY_SECONDS", 0.05)
    store = open_or_create(home)
    store.key_of("user 1")
    wanted = key_bytes(home, "user 1")
    reader = sqlite3.connect(home.key_store, isolation_level=None)
    reader.execute("begin")
    reader.execute("select count(*) from keys").fetchone()
    with pytest.raises(KeysUnavailableError, match="run again"):
        store.erase("user 1")
    reader.close()
    store.erase("user 1")
    assert not any(each in path.read_bytes() for path in home.keys.iterdir() for each in wanted)


def test_keys_that_went_or_came_back_are_noticed_and_new_ones_are_not(home: Home) -> None:
    store = open_or_create(home)
    ana = store.key_of("user ana").key_id
    store.key_of("user ben")

    def have_changed() -> bool:
        keyrings = Keyrings(home)
        changed = keyrings.have_changed()
        keyrings.remember(keyrings.summaries())
        keyrings.close()
        return changed

    home.state.mkdir()
    assert have_changed(), "nothing was known"
    assert not have_changed()
    store.key_of("user cem")
    assert not have_changed()
    with sqlite3.connect(home.key_store) as other:
        row = other.execute("select * from keys where key_id = ?", (ana,)).fetchone()
        other.execute("delete from keys where key_id = ?", (ana,))
        other.commit()
        assert have_changed()
        assert not have_changed()
        # As another program may put it back: under another number.
        other.execute("insert into keys values (null, ?, ?, ?, ?, ?, ?)", row[1:])
        other.commit()
        assert have_changed()
    other.close()
    store.erase("user ben")
    assert have_changed()
    # A copy from before takes the file's place, and as many keys are made as it lacks.
    store.close()
    older = home.root / "older.sqlite"
    home.key_store.rename(older)
    assert have_changed()
    older.rename(home.key_store)
    assert have_changed()
    copy = home.key_store.read_bytes()
    store = KeyStore(home.key_store)
    store.key_of("user dan")
    assert not have_changed()
    store.close()
    home.key_store.write_bytes(copy)
    KeyStore(home.key_store).key_of("user eve")
    assert have_changed()


def test_a_lost_keyring_is_not_made_again_and_can_come_back_beside_the_new_one(home: Home) -> None:
    text = Vault(home, encrypts=True).sealer("user 1").encrypted("p", "1")
    home.key_store.rename(home.root / "lost.sqlite")
    (home.root / "lost.sqlite").with_name("keys.sqlite-wal").unlink(missing_ok=True)
    again = Vault(home, encrypts=True)
    other = again.sealer("user 1").encrypted("p", "1")
    assert other != text
    assert Vault(home, encrypts=False).read(text, "p") == (None, True)
    (home.root / "lost.sqlite").rename(home.keys / "found.sqlite")
    reader = Vault(home, encrypts=False)
    assert reader.read(text, "p") == reader.read(other, "p") == ("1", True)
    assert again.sealer("user 1").encrypted("p", "1") == other


@pytest.mark.parametrize("is_used_again", [False, True])
def test_what_was_encrypted_by_keys_that_are_gone_is_not_written(
    home: Home, tmp_path: Path, is_used_again: bool
) -> None:
    vault = Vault(home, encrypts=True)
    before = vault.sealer("user 1").encrypted("p", "1")
    vault.flush()
    home.key_store.rename(tmp_path / "moved.sqlite")
    if is_used_again:
        vault.sealer("user 2")
    with pytest.raises(KeysUnavailableError, match="was replaced"):
        vault.flush()
    vault.flush()
    assert vault.sealer("user 1").encrypted("p", "1") != before


def test_a_damaged_keyring_is_named_and_nothing_is_made_in_its_place(home: Home) -> None:
    create(home.key_store)
    home.key_store.write_bytes(b"no keys" * 1000)
    with pytest.raises(KeysDamagedError, match=r"keys\.sqlite is damaged .*copy of your backup"):
        Vault(home, encrypts=True).sealer("user 1")
    assert home.key_store.read_bytes() == b"no keys" * 1000


@pytest.mark.prove
@settings(max_examples=examples(10))
@given(st.lists(st.tuples(st.sampled_from(["ana", "ben", "cem"]), st.booleans()), min_size=2, max_size=9))
def test_any_order_of_deliveries_and_erasures(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, bool]]
) -> None:
    """The oracle: a value can be read unless its subject has been erased, before it came or after."""
    home = Home(tmp_path_factory.mktemp("home"))
    vault = Vault(home, encrypts=True)
    stored: list[tuple[str, str]] = []
    erased: set[str] = set()
    for name, is_erasure in events:
        if is_erasure:
            open_or_create(home).erase(name)
            erased.add(name)
        else:
            stored.append((name, vault.sealer(name).encrypted("p", f'"{name}"')))
    reader = Vault(home, encrypts=False)
    for name, text in stored:
        assert reader.read(text, "p") == (None if name in erased else f'"{name}"', True)


def test_the_copy_of_the_keys_is_whole_and_apart_from_raw(home: Home, tmp_path: Path) -> None:
    """docs/deploy/backup-keys.sh, while the keys are in use."""
    vault = Vault(home, encrypts=True)
    text = vault.sealer("user 1").encrypted("p", "1")

    def back_up(copy: Path) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(ROOT / "docs" / "deploy" / "backup-keys.sh"), str(home.root), str(copy)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert back_up(tmp_path / "copy").returncode == 0
    kept = key_bytes(home, "user 1")
    assert all(each in (tmp_path / "copy" / "keys.sqlite").read_bytes() for each in kept)
    assert (tmp_path / "copy" / "keys.sqlite").stat().st_mode & 0o777 == 0o600
    # An erased key leaves the copy, too.
    open_or_create(home).erase("user 2")
    vault.sealer("user 3")
    open_or_create(home).erase("user 3")
    assert back_up(tmp_path / "copy").returncode == 0
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["keys.sqlite"]
    home.key_store.unlink()
    for beside in home.keys.glob("*.sqlite-*"):
        beside.unlink()
    (tmp_path / "copy" / "keys.sqlite").rename(home.key_store)
    assert Vault(home, encrypts=False).read(text, "p") == ("1", True)
    assert Vault(home, encrypts=True).sealer("user 1").encrypted("p", "1") == text
    refused = back_up(home.root)
    assert (refused.returncode, "has a copy of raw/" in refused.stderr) == (1, True)
