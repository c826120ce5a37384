"""Reads embed tokens: what may be kept of a JWT, before anything is written.

The signature and the token itself are credentials and go no further. Kept are the payload after the claim policy, how
far the token can be trusted, and a fingerprint that tells two tokens apart.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import orjson
from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.keys.key_store import KeysUnavailableError
from pipelines.keys.stored_texts import MARK
from pipelines.keys.vault import Vault
from pipelines.oneschema.claim_policy import ClaimPolicy, PatternMatches, encrypts
from pipelines.oneschema.credentials import may_hold_credentials, without_credentials
from pipelines.oneschema.json_text import MAX_DEPTH, Json, dumps, loads_carefully
from pipelines.oneschema.jwt_segments import json_object, segment_bytes
from pipelines.oneschema.known_secrets import KnownSecrets
from pipelines.settings import Settings

# A sweep meets an embed's token once per event. Beyond this many characters, the cache is emptied and starts again.
_CACHED_CHARACTERS = 32 * 1024 * 1024
_LONGEST_CACHED_TOKEN = 8_192


@dataclass(frozen=True)
class ReadToken:
    """What is kept of a token. None of it is a credential."""

    claims: str | None
    """The payload as JSON after the claim policy; None for a malformed or missing token."""
    jwt_status: str
    """verified, unverified, invalid_signature, malformed or missing."""
    fingerprint: str | None
    """16 hex digits, the same for the same token; None for a missing one."""


MISSING = ReadToken(claims=None, jwt_status="missing", fingerprint=None)


class TokenReader:
    """Reads embed tokens. `client_secrets` are by client id (`iss`), `claim_policy` is an action by path.

    A token whose payload can be read is `unverified` if no secret is configured for its `iss`. Otherwise it is
    `verified` if it is HS256 and its signature is right, else `invalid_signature`. Any other alg is invalid, above all
    `none`. `known_secrets` holds the client secrets, the hash key and `secrets`: none of them may be kept. `vault` has
    the home's keys, for claims that are encrypted. Raises ConfigurationError for a policy that cannot be carried out.

    Methods raise KeysUnavailableError and KeysDamagedError where the keys are needed and cannot be used.
    """

    def __init__(
        self,
        client_secrets: Mapping[str, SecretStr],
        claim_policy: Mapping[str, str],
        hash_key: SecretStr | None,
        secrets: Iterable[SecretStr | None] = (),
        vault: Vault | None = None,
    ) -> None:
        self._secrets = {client: secret.get_secret_value().encode() for client, secret in client_secrets.items()}
        if not all(self._secrets.values()):
            raise ConfigurationError("ONESCHEMA_CLIENT_SECRETS holds an empty secret: remove it or fill it in.")
        held = [secret.get_secret_value() for secret in (*client_secrets.values(), hash_key, *secrets) if secret]
        self.known_secrets = KnownSecrets(secret.strip() for secret in held)
        self.claim_policy = dict(claim_policy)
        self._hash_key = hash_key
        self._vault = vault
        self._policy = ClaimPolicy(claim_policy, hash_key, vault=vault)
        self._read: dict[str, ReadToken] = {}
        self._last_header: tuple[str, dict[str, Json] | None] = ("", None)
        self._cached_characters = 0

    @property
    def configuration(self) -> str:
        """Everything that decides how a token is read, without any secret."""
        parts = [sorted(self.claim_policy.items()), self._hash_key is not None, sorted(self._secrets)]
        # With other keys, each token has to be read again: what is held of it cannot be read any more.
        keyring = self._vault.keyring if self._vault else None
        return dumps(parts if keyring is None else [*parts, keyring])

    @property
    def digest_key(self) -> bytes | None:
        """The key of digests, in homes where claims are encrypted: a plain digest would let who has raw try guesses."""
        return self._vault.digest_key if self._vault else None

    def open_keys(self) -> None:
        """Open the keys, and make them where a home has none yet, if claims are encrypted."""
        if self._vault is not None:
            self._vault.keyring  # noqa: B018 - to ask for it opens it

    def flush_keys(self) -> None:
        """Returns when everything that was read may be written: the keys that encrypted it are on the disk.

        Raises OSError, and KeysUnavailableError if it has to be read again.
        """
        if self._vault is None:
            return
        try:
            self._vault.flush()
        except KeysUnavailableError:
            self._read.clear()
            self._cached_characters = 0
            raise

    @property
    def policy_matches(self) -> PatternMatches:
        """Which patterns of the claim policy fitted a claim of the tokens that were read."""
        return self._policy.matches

    @classmethod
    def from_settings(cls, settings: Settings) -> "TokenReader":
        return cls(
            settings.oneschema_client_secrets,
            settings.embed_analytics_claim_policy,
            settings.embed_analytics_claim_hash_key,
            [settings.oneschema_api_key, *settings.embed_analytics_webhook_secrets],
            Vault(settings.home, encrypts=encrypts(settings.embed_analytics_claim_policy)),
        )

    def read(self, token: object) -> ReadToken:
        """What is kept of a token of any type. None and "" count as missing. No token makes it raise anything."""
        if token is None or token == "":
            return MISSING
        if not isinstance(token, str):
            return ReadToken(
                claims=None, jwt_status="malformed", fingerprint=self._fingerprint(dumps(token, ascii_only=True))
            )
        known = self._read.get(token)
        if known is None:
            known = self._read_text(token)
            if len(token) <= _LONGEST_CACHED_TOKEN:
                if self._cached_characters + len(token) > _CACHED_CHARACTERS:
                    self._read.clear()
                    self._cached_characters = 0
                self._read[token] = known
                self._cached_characters += len(token)
        return known

    def read_again(self, read: ReadToken, applied: Mapping[str, str]) -> ReadToken:
        """Apply the present policy to a token that was read under the policy `applied`."""
        if read.claims is None or applied == self.claim_policy:
            return read
        policy = ClaimPolicy(self.claim_policy, self._hash_key, applied, self._vault)
        claims = dumps(policy.apply(loads_carefully(read.claims, keep_numbers=True)))
        # A pattern that fits nothing of what is left may have fitted the rest.
        self._policy.matches.add(policy.matches.matched, policy.matches.matched)
        return replace(read, claims=claims)

    def _read_text(self, token: str) -> ReadToken:
        fingerprint = self._fingerprint(token)
        segments = token.split(".")
        header = self._header(segments[0]) if len(segments) == 3 else None
        content = segment_bytes(segments[1]) if header is not None else None
        payload = _payload(content) if content is not None else None
        if header is None or payload is None:
            return ReadToken(claims=None, jwt_status="malformed", fingerprint=fingerprint)
        claims, issuer = payload
        return ReadToken(
            claims=self._kept(claims), jwt_status=self._status(header, issuer, segments), fingerprint=fingerprint
        )

    def _header(self, segment: str) -> dict[str, Json] | None:
        # All tokens of an integration begin with the same header.
        known, header = self._last_header
        if segment != known:
            header = json_object(segment)
            self._last_header = (segment, header)
        # Do not read it back from the cache: another thread may have stored another token's header there.
        return header

    def _status(self, header: dict[str, Json], issuer: object, segments: list[str]) -> str:
        secret = self._secrets.get(issuer) if isinstance(issuer, str) else None
        if secret is None:
            return "unverified"
        signature = segment_bytes(segments[2])
        if header.get("alg") != "HS256" or signature is None:
            return "invalid_signature"
        expected = hmac.digest(secret, f"{segments[0]}.{segments[1]}".encode(), "sha256")
        return "verified" if hmac.compare_digest(expected, signature) else "invalid_signature"

    def _kept(self, claims: str) -> str:
        """The payload without credentials, after the policy. If neither changes it, its text stays as it was signed."""
        # An escape could hide a field's name or a token's shape from the cheap look.
        has_credentials = "\\" in claims or may_hold_credentials(claims.encode(), self.known_secrets)
        if not has_credentials and not self._policy and MARK not in claims:
            return claims
        payload = loads_carefully(claims, keep_numbers=True)
        if has_credentials:
            payload = without_credentials(payload, self.known_secrets)
        return dumps(self._policy.apply(payload))

    def _fingerprint(self, token: str) -> str:
        # Truncated, so that it only tells whether two tokens are the same. A token's signature alone has four times as
        # many bits; one without a signature could be guessed.
        content = token.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=8, person=b"embed-token", key=self.digest_key or b"").hexdigest()


def _payload(content: bytes) -> tuple[str, object] | None:
    """The text of a payload and its `iss`. None if it is not a JSON object."""
    try:
        value: Json = orjson.loads(content)
        is_plain = content.count(b"{") + content.count(b"[") <= MAX_DEPTH and not _repeats_a_key(content, value)
    except orjson.JSONDecodeError:
        is_plain, value = False, None
    if is_plain:
        return (content.decode(), value.get("iss")) if isinstance(value, dict) else None
    try:
        value = loads_carefully(content, keep_numbers=True)
    except ValueError:
        return None
    return (dumps(value), value.get("iss")) if isinstance(value, dict) else None


def _repeats_a_key(content: bytes, value: Json) -> bool:
    """Whether an object in a JSON text names a key twice. Of repeated keys the last one counts (RFC 7519, section 4).

    `value` has each key once, so writing it again gives fewer colons. If an escape may stand for a colon, the answer
    does not matter: such a payload is rewritten anyway (see _kept).
    """
    return b"\\" not in content and content.count(b":") != orjson.dumps(value).count(b":")
