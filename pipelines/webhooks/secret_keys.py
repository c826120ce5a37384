"""Who may push: HTTP Basic as the vendor sends it, no user name and the webhook's secret key as password."""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Sequence

from pydantic import SecretStr

from pipelines.errors import ConfigurationError


class SecretKeys:
    """The accepted secrets: several while they are rotated. Without any, everybody is accepted."""

    def __init__(self, secrets: Sequence[SecretStr], *, is_open: bool) -> None:
        """Raises ConfigurationError without a secret, unless `is_open` says that this is meant."""
        if is_open and secrets:
            raise ConfigurationError(
                "EMBED_ANALYTICS_WEBHOOK_SECRETS is set and --no-auth would ignore it: leave one of them out."
            )
        if not is_open and not secrets:
            raise ConfigurationError(
                "EMBED_ANALYTICS_WEBHOOK_SECRETS is missing or empty: set the secret key of the webhook (OneSchema "
                "Developer Dashboard, Webhooks), or accept events from anybody with --no-auth."
            )
        if not all(secret.get_secret_value().strip() for secret in secrets):
            raise ConfigurationError("EMBED_ANALYTICS_WEBHOOK_SECRETS holds an empty secret: remove it or fill it in.")
        # surrogateescape: the bytes that the environment had, whatever their encoding.
        self._digests = [
            _digest(b":" + secret.get_secret_value().encode("utf-8", "surrogateescape")) for secret in secrets
        ]

    def accept(self, authorization: bytes | None) -> bool:
        """Whether an Authorization header shows one of the secrets; a wrong one takes as long as a right one."""
        if not self._digests:
            return True
        scheme, _, credentials = (authorization or b"").partition(b" ")
        try:
            shown = b64decode(credentials.strip(b" "), validate=True)
        except binascii.Error:
            shown = b""
        digest = _digest(shown)
        # Digests have one length, and every secret is compared: neither says how near a guess was.
        is_right = sum(hmac.compare_digest(digest, right) for right in self._digests) > 0
        return is_right and scheme.lower() == b"basic"


def _digest(credentials: bytes) -> bytes:
    return hashlib.blake2b(credentials, digest_size=32).digest()
