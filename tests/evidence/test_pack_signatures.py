"""verify.py's Ed25519 in plain Python beside RFC 8032's vectors and the `cryptography` package (OpenSSL)."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.chain.signing import is_signed as is_signed_by_openssl
from pipelines.evidence.pack_verifier import ORDER, P, is_signed
from tests.proving import examples

# RFC 8032, section 7.1, tests 1 to 3: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]

# Points of small order in their canonical form, and a few of their other forms: with such a key R = S = 0 and the like
# are signatures of many messages (Chalkias and others, "Taming the many EdDSAs", 2020).
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(key: str, message: str, signature: str) -> None:
    assert is_signed(*map(bytes.fromhex, (key, signature, message)))
    assert not is_signed(*map(bytes.fromhex, (key, signature, message + "00")))


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(60))
@given(
    st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 32 * 8 - 1), st.integers(0, 64 * 8 - 1)
)
def test_it_decides_as_openssl_does(seed: bytes, message: bytes, key_bit: int, signature_bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert is_signed(key, signature, message)
    for other_key, other_signature, other_message in (
        (key, flipped(signature, signature_bit), message),
        (flipped(key, key_bit), signature, message),
        (key, signature, message + b"\0"),
        (key, signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little"), message),
        (key, signature[32:] + signature[:32], message),
    ):
        assert not is_signed(other_key, other_signature, other_message)
        assert not is_signed_by_openssl(other_key.hex(), other_signature.hex(), other_message)


@given(st.binary(max_size=100), st.binary(max_size=100))
@example(b"", b"")
@example(b"\xff" * 32, b"\xff" * 64)
@example((P + 3).to_bytes(32, "little"), bytes(64))
@settings(max_examples=examples(60))
@pytest.mark.prove
def test_what_is_not_a_key_or_a_signature_signs_nothing(key: bytes, signature: bytes) -> None:
    assert not is_signed(key, signature, b"message")


@pytest.mark.parametrize("key", SMALL)
def test_a_key_of_small_order_signs_nothing(key: str) -> None:
    """OpenSSL takes some of these for signatures: whoever published such a key could deny all that it signed."""
    forged = [bytes.fromhex(point) + bytes(32) for point in SMALL]
    messages = [bytes([number]) * 32 for number in range(4)]
    assert not any(is_signed(bytes.fromhex(key), signature, message) for signature in forged for message in messages)


def test_that_would_be_a_forgery_elsewhere() -> None:
    """So the test above would fail without the rule."""
    assert is_signed_by_openssl(SMALL[0], SMALL[0] + "00" * 32, b"any message")


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
