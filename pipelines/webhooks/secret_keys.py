"""Decides who may push: HTTP Basic as the vendor sends it, with no user name and the webhook's secret as password."""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Sequence

from pydantic import SecretStr

from pipelines.errors import ConfigurationError


class SecretKeys:
    """The accepted secrets: several of them during a rotation. Without any, everybody is accepted."""

    def __init__(self, secrets: Sequence[SecretStr], *, is_open: bool) -> None:
        """Raises ConfigurationError if there is no secret, unless `is_open` says that this is intended."""
        if is_open and secrets:
            raise ConfigurationError(
                "EMBED_ANALYTICS_WEBHOOK_SECRETS is set, but --no-auth would ignore it: leave one of them out."
            )
        if not is_open and not secrets:
            raise ConfigurationError(
                "EMBED_ANALYTICS_WEBHOOK_SECRETS is missing or empty: set the secret key of the webhook (OneSchema "
                "Developer Dashboard, Webhooks), or accept events from anybody with --no-auth."
            )
        if not all(secret.get_secret_value().strip() for secret in secrets):
            raise ConfigurationError("EMBED_ANALYTICS_WEBHOOK_SECRETS holds an empty secret: remove it or fill it in.")
        # surrogateescape gives the bytes of the environment variable, whatever their encoding.
        self._digests = [
            _digest(b":" + secret.get_secret_value().encode("utf-8", "surrogateescape")) for secret in secrets
        ]

    def accept(self, authorization: bytes | None) -> bool:
        """Whether an Authorization header carries one of the secrets. A wrong one takes as long as a right one."""
        if not self._digests:
            return True
        scheme, _, credentials = (authorization or b"").partition(b" ")
        try:
            shown = b64decode(credentials.strip(b" "), validate=True)
        except binascii.Error:
            shown = b""
        digest = _digest(shown)
        # Digests have one length, and every secret is compared, so the time does not tell how near a guess was.
        is_right = sum(hmac.compare_digest(digest, right) for right in self._digests) > 0
        return is_right and scheme.lower() == b"basic"


def _digest(credentials: bytes) -> bytes:
    return hashlib.blake2b(credentials, digest_size=32).digest()
