"""What follows from the code is found once and kept; whatever happens to the file, the answer is the same."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.home import derived as derived_module
from pipelines.home.derived import derived

FACTS = {"fct_embeds": ["embed_id", 'ä"\n'], "none": None}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, not made yet. The code is as old as that of an installed package."""

    def cache_path(_: str, *, appauthor: bool) -> Path:
        return tmp_path / "cache"

    monkeypatch.setattr(derived_module, "user_cache_path", cache_path)
    monkeypatch.setattr(derived_module, "changed_at", lambda: 0.0)
    return tmp_path / "cache"


class Finder:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> object:
        self.count += 1
        return FACTS


def test_it_is_found_once_and_only_its_user_may_read_it(cache: Path) -> None:
    find = Finder()
    assert [derived("facts", find) for _ in range(3)] == [FACTS] * 3
    assert find.count == 1
    (file,) = cache.iterdir()
    assert (cache.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_it_is_the_same_whether_found_or_kept(cache: Path) -> None:
    assert derived("pair", lambda: {"a": (1, 2)}) == derived("pair", Finder()) == {"a": [1, 2]}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "one byte": lambda file: file.write_bytes(file.read_bytes().replace(b"embed_id", b"embed_ix")),
    "not text": lambda file: file.write_bytes(b"\xff\n\xff"),
    "gone": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_costs_nothing_but_time(cache: Path, damage: str) -> None:
    find = Finder()
    derived("facts", find)
    (file,) = cache.iterdir()
    DAMAGES[damage](file)
    assert derived("facts", find) == FACTS
    assert find.count == 2
    assert not list(cache.glob(".tmp-*"))
    # It is whole again, unless something that cannot be replaced is in its place.
    assert (derived("facts", find), find.count) == (FACTS, 3 if damage == "a folder" else 2)


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(cache: Path) -> None:
    cache.write_text("a file")
    find = Finder()
    assert (derived("facts", find), derived("facts", find), find.count) == (FACTS, FACTS, 2)


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object, **__: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(derived_module, "user_cache_path", homeless)
    find = Finder()
    assert (derived("facts", find), derived("facts", find), find.count) == (FACTS, FACTS, 2)


def test_another_user_s_file_is_not_believed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = Finder()
    derived("facts", find)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert (derived("facts", find), find.count) == (FACTS, 2)


def test_other_code_finds_its_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = Finder()
    derived("facts", find)
    derived_module._key.cache_clear()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(derived_module, "code_version", lambda: "0.2.0+000000000000")
    monkeypatch.setattr(derived_module, "present_digest", lambda: "000000000000")
    derived("facts", find)
    assert (find.count, len(list(cache.iterdir()))) == (2, 2)
    derived_module._key.cache_clear()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("race", ["before the look", "during the look", "since the process began"])
def test_nothing_is_kept_of_code_that_changes_meanwhile(
    cache: Path, monkeypatch: pytest.MonkeyPatch, race: str
) -> None:
    find = Finder()
    digests = iter(["000000000000"] * 2 if race == "before the look" else [derived_module.present_digest(), "0" * 12])
    if race == "since the process began":
        monkeypatch.setattr(derived_module, "changed_at", time.time)
    else:
        monkeypatch.setattr(derived_module, "present_digest", lambda: next(digests))
    assert derived("facts", find) == FACTS
    assert not cache.exists()


def test_a_few_states_of_the_code_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        monkeypatch.setattr(derived_module, "_key", lambda key=f"{number:016x}": key)
        derived("facts", Finder())
    derived("others", Finder())
    kept = sorted(file.name for file in cache.iterdir())
    assert [name.partition("-")[0] for name in kept] == ["facts"] * 8 + ["others"]
    assert f"facts-{19:016x}.json" in kept
