"""`verify` finds any one change, names where it is, and finds nothing where nothing was changed."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence.verify import Verified, verify
from pipelines.settings import Settings
from tests.evidence.homes import copied
from tests.evidence.mutations import IN_RAW, IN_THE_LAKE, Mutation
from tests.proving import examples

pytestmark = [pytest.mark.slow, pytest.mark.prove]


@contextmanager
def a_copy(of: Settings) -> Generator[Settings]:
    with TemporaryDirectory() as folder:
        yield copied(of, Path(folder) / "home")


def places(found: Verified) -> set[str | None]:
    return {place for finding in found.checked.findings for place in (finding.path, finding.date)}


@pytest.mark.parametrize("with_rows", [False, True])
def test_nothing_is_found_where_nothing_was_changed(home: Settings, with_rows: bool) -> None:
    checked = verify(home, with_rows=with_rows).checked
    assert (checked.findings, checked.waiting, checked.notes) == ([], [], [])


def check(home: Settings, mutation: Mutation, data: st.DataObject) -> None:
    with a_copy(home) as copy:
        expected = mutation(copy.home, data)
        found = verify(copy)
    if expected is None:
        assert found.checked.findings == []
    else:
        assert expected & places(found), (expected, found.checked.findings, found.checked.waiting)


@given(st.sampled_from(IN_RAW), st.data())
@settings(max_examples=examples(40))
def test_any_one_change_of_raw_is_found_and_named(home: Settings, mutation: Mutation, data: st.DataObject) -> None:
    check(home, mutation, data)


@given(st.sampled_from(IN_THE_LAKE), st.data())
@settings(max_examples=examples(40))
def test_any_one_change_of_what_is_made_of_raw_is_found_and_named(
    home: Settings, mutation: Mutation, data: st.DataObject
) -> None:
    check(home, mutation, data)
