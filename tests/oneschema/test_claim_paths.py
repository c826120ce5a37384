"""The grammar of claim paths against its definition: the shell's patterns, over keys that hold dots and backslashes."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipelines.oneschema.claim_paths import (
    MOST_PLAIN_DOTS,
    escape,
    join,
    naming,
    pattern,
    pointer,
    readings,
    split,
    upward,
    walk,
)
from pipelines.oneschema.json_text import Json
from tests.proving import examples

KEYS = st.lists(st.text("ab.\\*[]!-\n", max_size=4), min_size=1, max_size=3)
PATTERNS = st.lists(
    st.sampled_from(
        ["*", "?", "a", "b", ".", "[ab]", "[!a]", "[!.]", "[.]", "[", "]", "!", "[]a]", "[!]]", "[+-9]", "\n"]
    )
).map("".join)


@given(keys=KEYS)
def test_a_path_gives_its_keys_back(keys: list[str]) -> None:
    assert split(join(keys)) == keys


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(2_000))
@given(keys=KEYS, text=PATTERNS)
@example(keys=["a\\", "b"], text="*.b")
@example(keys=["a\\.b"], text="a[!x].b")
@example(keys=["a"], text="[!]")
def test_a_pattern_without_escapes_is_the_shells_over_keys_joined_by_dots(keys: list[str], text: str) -> None:
    """Which dots part levels does not matter to it: so every policy was written before paths had escapes."""
    assert bool(pattern(text).fullmatch(join(keys))) == fnmatchcase(".".join(keys), text)


@pytest.mark.prove
@settings(max_examples=examples(1_000))
@given(keys=KEYS, others=KEYS)
@example(keys=["a.b"], others=["a", "b"])
@example(keys=["a", "b"], others=["a.b"])
def test_a_name_is_its_path_and_its_plain_dots_stand_for_either(keys: list[str], others: list[str]) -> None:
    # Escaped dots are within a key: as many stay where they are as were escaped.
    inner = [
        position for position, (character, is_inner) in enumerate(characters(keys)) if character == "." and is_inner
    ]
    is_same = ".".join(keys) == ".".join(others) and all(characters(others)[position][1] for position in inner)
    assert bool(naming(join(keys)).fullmatch(join(others))) == is_same


@settings(max_examples=examples(300))
@given(keys=KEYS)
@example(keys=["a.b\\", "", "c"])
def test_the_readings_of_a_name_are_the_paths_that_it_names_and_the_name_itself_comes_first(keys: list[str]) -> None:
    for text in (join(keys), ".".join(keys)):
        dots = sum(not is_inner for _, is_inner in characters(split(text)))
        assume(dots <= MOST_PLAIN_DOTS)
        found = readings(text)
        assert all(naming(text).fullmatch(join(reading)) for reading in found)
        # As many as there are ways to read its plain dots, and no two alike.
        assert len({join(reading) for reading in found}) == len(found) == 2**dots
        assert found[0] == split(text)
        assert found[1:] == sorted(found[1:], key=join)


def test_a_name_with_too_many_plain_dots_has_no_readings() -> None:
    assert len(readings(".".join("a" * (MOST_PLAIN_DOTS + 1)))) == 2**MOST_PLAIN_DOTS
    with pytest.raises(ValueError, match="backslash"):
        readings(".".join("a" * (MOST_PLAIN_DOTS + 2)))


@given(keys=st.lists(st.text("a/~01", max_size=4), min_size=1, max_size=3))
def test_a_pointer_leads_to_the_value(keys: list[str]) -> None:
    # As RFC 6901 reads it.
    read = [token.replace("~1", "/").replace("~0", "~") for token in pointer(keys).split("/")[1:]]
    assert read == keys


def characters(keys: list[str]) -> list[tuple[str, bool]]:
    """Each character of keys joined by dots, and whether it is within a key."""
    found = [[(character, True) for character in key] for key in keys]
    return [character for key in found for character in (*key, (".", False))][:-1]


@pytest.mark.parametrize(
    ("text", "fitting", "others"),
    [
        (r"a\.b", [["a.b"]], [["a", "b"], ["a\\.b"], ["a\\", "b"]]),
        (r"a\\.b", [["a\\", "b"], ["a\\.b"]], [["a.b"], ["a\\\\", "b"]]),
        (r"a\b", [["a\\b"]], [["ab"], ["a", "b"]]),
        (r"*\.example", [["x.example"], ["x", "y.example"], [".example"]], [["x", "example"]]),
        (r"org.acme\.example.*", [["org", "acme.example", "x"]], [["org", "acme", "example", "x"]]),
    ],
)
def test_escapes_in_patterns(text: str, fitting: list[list[str]], others: list[list[str]]) -> None:
    assert [keys for keys in [*fitting, *others] if pattern(text).fullmatch(join(keys))] == fitting


@given(keys=KEYS)
def test_a_path_names_what_it_was_listed_for(keys: list[str]) -> None:
    payload: dict[str, Json] = {keys[-1]: 1}
    for key in reversed(keys[:-1]):
        payload = {key: payload}
    *_, (path, value) = walk(payload)
    assert (path, value) == (join(keys), 1)
    assert naming(path).fullmatch(path)


def test_many_stars_take_a_time_that_grows_with_the_path() -> None:
    """If each star were tried again from every place, this would take hours."""
    assert not pattern("*a*a*a*a*a*b*a*c").fullmatch(escape("a." * 20_000))


@given(keys=KEYS)
def test_above_a_path_are_its_objects(keys: list[str]) -> None:
    payload: Json = None
    for key in reversed(keys):
        payload = {key: payload}
    assert isinstance(payload, dict)
    assert upward(join(keys)) == [path for path, _ in walk(payload)]
