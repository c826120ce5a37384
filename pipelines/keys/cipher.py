"""AES-GCM with a nonce made from what is encrypted, so that a value that comes again is the same text again.

With a random nonce every sweep would see other claims, and land them once more. The nonce is the first 96 bits of the
HMAC-SHA256 of path and value under a key of its own. So two values of one subject have the same text where path and
value are the same, and in no other case, and that is what the texts show, with the length in steps of 32 bytes.
"""

import hmac
from binascii import a2b_base64, b2a_base64
from importlib.util import find_spec

from pipelines.errors import ConfigurationError

KEY_BYTES = 32
_NONCE_BYTES = 12
# A JSON text may be followed by spaces, and a scalar's never ends in one. So its length shows in these steps alone.
_STEP_BYTES = 32


def require_cryptography(what: str) -> None:
    """Raises ConfigurationError where the package that encrypts is not installed. `what` says what needs it."""
    if find_spec("cryptography") is None:
        raise ConfigurationError(
            f"{what}, and the extra `evidence` is not installed: pip install 'embed-analytics[evidence]'."
        )


class Cipher:
    """Encrypts and decrypts the values of one subject. `cipher_key` and `nonce_key` have KEY_BYTES bytes."""

    def __init__(self, cipher_key: bytes, nonce_key: bytes) -> None:
        # Whoever has no encrypted claims need not have the package.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aead = AESGCM(cipher_key)
        self._invalid = InvalidTag
        self._nonce_key = nonce_key

    def encrypt(self, path: str, json_text: str) -> str:
        """The body of a stored text: the JSON text of a scalar, at a claim path."""
        place, plain = path.encode(), json_text.encode()
        # The length comes first, so that no other path and value make the same bytes.
        message = len(place).to_bytes(8, "big") + place + plain
        nonce = hmac.digest(self._nonce_key, message, "sha256")[:_NONCE_BYTES]
        padded = plain + b" " * (-len(plain) % _STEP_BYTES)
        return b2a_base64(nonce + self._aead.encrypt(nonce, padded, place), newline=False).rstrip(b"=").decode()

    def decrypt(self, path: str, body: str) -> str | None:
        """The JSON text of the scalar; None if this subject's key did not encrypt it for this path."""
        # Of a length that no base64 has, nothing can be decoded.
        content = b"" if len(body) % 4 == 1 else a2b_base64(body + "=" * (-len(body) % 4))
        if len(content) < _NONCE_BYTES:
            return None
        try:
            padded = self._aead.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], path.encode())
        except self._invalid:
            return None
        return padded.rstrip(b" ").decode()
