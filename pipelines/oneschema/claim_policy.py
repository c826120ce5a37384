"""What is stored of each claim: kept, encrypted, hashed or dropped, by path, before anything is written.

A pattern is one of `claim_paths`: `email`, `debug.*`, `*email*`. It holds for the path and for everything below it. If
several patterns fit, the most specific wins: the one with the most literal characters (a backslash that escapes is
one, so `a\\.b` is more specific than `a.b`), then the stricter (drop, hash, keep).

What is dropped leaves no trace, so whether a pattern ever fitted a claim is noted here, while claims are read.
"""

import hmac
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property

from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.keys.cipher import require_cryptography
from pipelines.keys.vault import Sealer, Vault
from pipelines.oneschema.claim_paths import escape, pattern, upward
from pipelines.oneschema.json_text import Json, dumps, loads_carefully

_STRICTNESS = {"keep": 0, "encrypt": 1, "hash": 2, "drop": 3}

# Whom a token is about. The vendor's page names it, and the warehouse has it as `user_id`.
USER_ID_CLAIM = "user_id"

# Claim names may be ids: beyond so many paths, those that were tried before are forgotten, and tried again. A path that
# is longer is tried each time.
_MOST_NOTED_PATHS = 10_000
_LONGEST_NOTED_PATH = 500


class PatternMatches:
    """Which of some patterns fitted a claim path that was noted. Order and repetition change nothing."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = {text: pattern(text) for text in patterns}
        self._tried: set[str] = set()
        self._found: dict[str, bool] = {}

    @property
    def found(self) -> dict[str, bool]:
        """By pattern whether it fitted any path; without the patterns for which no claim has been read yet."""
        return dict(self._found)

    @property
    def matched(self) -> list[str]:
        """The patterns that fitted a path, sorted."""
        return sorted(text for text, is_matched in self.found.items() if is_matched)

    def note(self, path: str) -> None:
        if path in self._tried:
            return
        if len(self._tried) >= _MOST_NOTED_PATHS:
            self._tried.clear()
        if len(path) <= _LONGEST_NOTED_PATH:
            self._tried.add(path)
        for text, expression in self._patterns.items():
            if not self._found.get(text):
                self._found[text] = expression.fullmatch(path) is not None

    def add(self, tried: Iterable[str], matched: Collection[str]) -> None:
        """Take over what was noted elsewhere, of these patterns."""
        for text in tried:
            if text in self._patterns and not self._found.get(text):
                self._found[text] = text in matched


class ClaimPolicy:
    """The policy of EMBED_ANALYTICS_CLAIM_POLICY. It is false when it changes nothing.

    `matches` has the patterns that fitted a claim. `vault` has the keys for `encrypt`.

    `applied` is the policy that was already applied to a payload, which then has stored texts (see
    keys.stored_texts). Claims that it hashed are not hashed again, and those that it encrypted are decrypted if they
    have to be anything else now. One whose key is missing stays as it is. Raises ConfigurationError for an unknown
    action, for `hash` without a key, and for `encrypt` where its package is not installed.
    """

    def __init__(
        self,
        policy: Mapping[str, str],
        hash_key: SecretStr | None,
        applied: Mapping[str, str] | None = None,
        vault: Vault | None = None,
    ) -> None:
        for text, action in policy.items():
            if action not in _STRICTNESS:
                raise ConfigurationError(
                    f"EMBED_ANALYTICS_CLAIM_POLICY: {text!r} says {action!r}; use keep, encrypt, hash or drop."
                )
        key = hash_key.get_secret_value() if hash_key else ""
        if "hash" in policy.values() and not key:
            raise ConfigurationError("EMBED_ANALYTICS_CLAIM_POLICY hashes claims: set EMBED_ANALYTICS_CLAIM_HASH_KEY.")
        if encrypts(policy):
            require_cryptography("EMBED_ANALYTICS_CLAIM_POLICY encrypts claims")
        self._key = key.encode()
        self._vault = vault
        self._patterns = _most_specific_first(policy)
        self._applied = None if applied is None else _most_specific_first(applied)
        # By path: the same come in every token.
        self._actions: dict[str, str] = {}
        self.matches = PatternMatches(policy)

    def __bool__(self) -> bool:
        return any(action != "keep" for _, action in self._patterns)

    def names(self, path: str) -> bool:
        """Whether a pattern fits the claim with this path, whatever it says of it."""
        return any(expression.fullmatch(part) for part in upward(path) for expression, _ in self._patterns)

    def apply(self, payload: Json) -> Json:
        """The payload after the policy. `hash` replaces each scalar, including elements of arrays, with the hex
        HMAC-SHA256 of its text (a number's JSON text), and `encrypt` with a stored text. Keys and null stay. `drop`
        removes the claim."""
        is_looked_at = bool(self) or (self._vault is not None and self._vault.is_in_use)
        if not is_looked_at or not isinstance(payload, dict):
            return payload
        return self._object(payload, "", _Subject(self._vault, lambda: self._subject_of(payload)))

    def _object(self, value: dict[str, Json], prefix: str, subject: "_Subject") -> dict[str, Json]:
        kept: dict[str, Json] = {}
        for key, element in value.items():
            # Hardly any key has one of them, and a call costs more than to look.
            path = prefix + (escape(key) if "." in key or "\\" in key else key)
            found = self._value(element, path, subject)
            if not isinstance(found, _Dropped):
                kept[key] = found
        return kept

    def _value(self, value: Json, path: str, subject: "_Subject") -> "Json | _Dropped":
        action = self._actions.get(path) or self._learned(path)
        if isinstance(value, dict):
            kept = self._object(value, f"{path}.", subject)
            return _DROPPED if action == "drop" and not kept else kept
        if isinstance(value, list):
            elements = [self._value(element, path, subject) for element in value]
            kept_elements = [element for element in elements if not isinstance(element, _Dropped)]
            return _DROPPED if action == "drop" and not kept_elements else kept_elements
        if action == "drop":
            return _DROPPED
        if value is None:
            return None
        before = "keep"
        if self._applied is not None:
            before = _action(self._applied, path)
            plain, is_encrypted = self._read(value, path)
            if is_encrypted and (plain is None or action == "encrypt"):
                return value
            value = plain
        if action == "encrypt":
            return subject.sealer.encrypted(path, dumps(value))
        if action == "hash" and before != "hash":
            return self._hashed(value)
        return self._vault.guarded(value) if self._vault and type(value) is str else value

    def _learned(self, path: str) -> str:
        """The action of a path, noted for the next token."""
        self.matches.note(path)
        action = _action(self._patterns, path)
        if len(self._actions) >= _MOST_NOTED_PATHS:
            self._actions.clear()
        if len(path) <= _LONGEST_NOTED_PATH:
            self._actions[path] = action
        return action

    def _read(self, value: Json, path: str) -> tuple[Json, bool]:
        """The value that a stored one stands for, and whether it was encrypted; None if nobody can read it."""
        if self._vault is None or type(value) is not str:
            return value, False
        text, is_encrypted = self._vault.read(value, path)
        return (loads_carefully(text, keep_numbers=True) if is_encrypted and text is not None else text), is_encrypted

    def _subject_of(self, payload: dict[str, Json]) -> str:
        """Whom a payload is about: its user, or only itself."""
        user = payload.get(USER_ID_CLAIM)
        if self._applied is not None:
            user, _ = self._read(user, USER_ID_CLAIM)
        if user is None or user == "" or isinstance(user, dict | list):
            return f"token {dumps(payload)}"
        return user_subject(_text(user))

    def _hashed(self, value: Json) -> str:
        return hmac.digest(self._key, _text(value).encode(), "sha256").hex()


def encrypts(policy: Mapping[str, str]) -> bool:
    """Whether a claim policy encrypts anything."""
    return "encrypt" in policy.values()


def user_subject(user_id: str) -> str:
    """The subject (see keys.key_store) of tokens about a user, by the text of their user id."""
    return f"user {user_id}"


def _text(value: Json) -> str:
    # Numbers were parsed as JsonText, so a scalar is a text or a boolean.
    return value if isinstance(value, str) else dumps(value)


class _Subject:
    """Whom a payload is about. A key is asked for when something has to be encrypted."""

    def __init__(self, vault: Vault | None, name: Callable[[], str]) -> None:
        self._vault = vault
        self._name = name

    @cached_property
    def sealer(self) -> Sealer:
        assert self._vault is not None, "who reads tokens gives the keys"
        return self._vault.sealer(self._name())


class _Dropped:
    """Stands for a claim that was dropped."""


_DROPPED = _Dropped()


def _most_specific_first(policy: Mapping[str, str]) -> list[tuple[re.Pattern[str], str]]:
    """The patterns in an order in which the first one that fits wins."""
    ordered = sorted(policy.items(), key=lambda item: (-_literal_length(item[0]), -_STRICTNESS[item[1]], item[0]))
    return [(pattern(text), action) for text, action in ordered]


def _action(patterns: list[tuple[re.Pattern[str], str]], path: str) -> str:
    paths = upward(path)
    for expression, action in patterns:
        if any(map(expression.fullmatch, paths)):
            return action
    return "keep"


def _literal_length(text: str) -> int:
    return sum(character not in "*?[]" for character in text)
