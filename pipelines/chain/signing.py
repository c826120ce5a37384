"""Signs heads with Ed25519, by the `cryptography` package, which is imported only where a key is set."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VARIABLE = "EMBED_ANALYTICS_SIGNING_KEY_FILE"


class Signer:
    """A private key. Its repr shows the public one alone."""

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw().hex()

    def __repr__(self) -> str:
        return f"Signer({self.public_key})"

    def sign(self, message: bytes) -> dict[str, str]:
        """The facts of a link that signs `message`: key and signature, both hex."""
        return {"key": self.public_key, "signature": self._key.sign(message).hex()}


@cache
def load_signer(path: Path | None) -> Signer | None:
    """The key of EMBED_ANALYTICS_SIGNING_KEY_FILE (PEM, PKCS 8, without a passphrase); None where it is not set.

    Raises ConfigurationError where the file or the package is missing, or the file holds no such key.
    """
    if path is None:
        return None
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"{VARIABLE} is set, and the extra `evidence` is not installed: pip install 'embed-analytics[evidence]'."
        ) from None
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(f"{VARIABLE}: {path} cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's message may quote what it read.
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{VARIABLE}: {path} is not an Ed25519 private key in PEM without a passphrase; make one with: "
            "openssl genpkey -algorithm ed25519"
        )
    return Signer(key)


def is_signed(public_key: str, signature: str, message: bytes) -> bool:
    """Whether the signature (hex) is that of the key (hex) over the message. Malformed ones are not."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), message)
    except (ValueError, InvalidSignature):
        return False
    return True
