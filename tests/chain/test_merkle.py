"""The tree against RFC 6962's own recursive definition; proofs lead where they should and nowhere else."""

import hashlib
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.chain import merkle

TEXTS = st.lists(st.binary(max_size=8), max_size=40)


def defined_root(texts: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if not texts:
        return hashlib.sha256(b"").digest()
    if len(texts) == 1:
        return hashlib.sha256(b"\x00" + texts[0]).digest()
    left = 1
    while left * 2 < len(texts):
        left *= 2
    return hashlib.sha256(b"\x01" + defined_root(texts[:left]) + defined_root(texts[left:])).digest()


def root_of_proof(text: bytes, siblings: Iterable[merkle.Sibling]) -> bytes:
    """The root that a text and its proof lead to, by the definition."""
    reached = hashlib.sha256(b"\x00" + text).digest()
    for side, digest in siblings:
        pair = digest + reached if side == "left" else reached + digest
        reached = hashlib.sha256(b"\x01" + pair).digest()
    return reached


@given(TEXTS)
def test_the_root_is_that_of_the_definition(texts: list[bytes]) -> None:
    assert merkle.root(merkle.leaves(texts)) == defined_root(texts)


@given(TEXTS.filter(len), st.data())
def test_a_proof_leads_to_the_root_and_no_other_text_does(texts: list[bytes], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(texts) - 1))
    digests = merkle.leaves(texts)
    siblings = merkle.proof(digests, position)
    root = merkle.root(digests)
    assert root_of_proof(texts[position], siblings) == root
    assert len(siblings) <= (len(texts) - 1).bit_length()
    other = data.draw(st.binary(max_size=8).filter(lambda text: text != texts[position]))
    assert root_of_proof(other, siblings) != root


@given(TEXTS.filter(lambda texts: len(texts) > 1), st.data())
def test_order_and_number_are_part_of_the_root(texts: list[bytes], data: st.DataObject) -> None:
    root = merkle.root(merkle.leaves(texts))
    shuffled = data.draw(st.permutations(texts))
    assert (merkle.root(merkle.leaves(shuffled)) == root) == (shuffled == texts)
    assert merkle.root(merkle.leaves(texts[:-1])) != root
    assert merkle.root(merkle.leaves([*texts, texts[-1]])) != root


def test_an_inner_node_does_not_pass_for_a_text() -> None:
    left, right = merkle.leaves([b"a", b"b"])
    assert merkle.root(merkle.leaves([left + right])) != merkle.root([left, right])


def test_there_is_no_proof_of_a_text_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        merkle.proof(merkle.leaves([b"a"]), 1)
