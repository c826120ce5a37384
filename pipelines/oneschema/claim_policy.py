"""What is stored of each claim: kept, hashed or dropped, by path, before anything is written.

A pattern is one of `claim_paths`: `email`, `debug.*`, `*email*`. It holds for the path and for everything below it. If
several patterns fit, the most specific wins: the one with the most literal characters (a backslash that escapes is
one, so `a\\.b` is more specific than `a.b`), then the stricter (drop, hash, keep).

What is dropped leaves no trace, so whether a pattern ever fitted a claim is noted here, while claims are read.
"""

import hmac
import re
from collections.abc import Collection, Iterable, Mapping

from pydantic import SecretStr

from pipelines.errors import ConfigurationError
from pipelines.oneschema.claim_paths import escape, pattern, upward
from pipelines.oneschema.json_text import Json

_STRICTNESS = {"keep": 0, "hash": 1, "drop": 2}

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

    `matches` has the patterns that fitted a claim.

    `applied` is the policy that was already applied to a payload. Claims that it hashed are not hashed again. Raises
    ConfigurationError for an unknown action, and for `hash` without a key.
    """

    def __init__(
        self, policy: Mapping[str, str], hash_key: SecretStr | None, applied: Mapping[str, str] | None = None
    ) -> None:
        for text, action in policy.items():
            if action not in _STRICTNESS:
                raise ConfigurationError(
                    f"EMBED_ANALYTICS_CLAIM_POLICY: {text!r} says {action!r}; use keep, hash or drop."
                )
        key = hash_key.get_secret_value() if hash_key else ""
        if "hash" in policy.values() and not key:
            raise ConfigurationError("EMBED_ANALYTICS_CLAIM_POLICY hashes claims: set EMBED_ANALYTICS_CLAIM_HASH_KEY.")
        self._key = key.encode()
        self._patterns = _most_specific_first(policy)
        self._applied = _most_specific_first(applied or {})
        self.matches = PatternMatches(policy)

    def __bool__(self) -> bool:
        return any(action != "keep" for _, action in self._patterns)

    def names(self, path: str) -> bool:
        """Whether a pattern fits the claim with this path, whatever it says of it."""
        return any(expression.fullmatch(part) for part in upward(path) for expression, _ in self._patterns)

    def apply(self, payload: Json) -> Json:
        """The payload after the policy. `hash` replaces each scalar, including elements of arrays, with the hex
        HMAC-SHA256 of its text (a number's JSON text). Keys and null stay. `drop` removes the claim."""
        return self._object(payload, []) if self and isinstance(payload, dict) else payload

    def _object(self, value: dict[str, Json], paths: list[str]) -> dict[str, Json]:
        kept: dict[str, Json] = {}
        for key, element in value.items():
            path = f"{paths[-1]}.{escape(key)}" if paths else escape(key)
            self.matches.note(path)
            found = self._value(element, [*paths, path])
            if not isinstance(found, _Dropped):
                kept[key] = found
        return kept

    def _value(self, value: Json, paths: list[str]) -> "Json | _Dropped":
        action = _action(self._patterns, paths)
        if isinstance(value, dict):
            kept = self._object(value, paths)
            return _DROPPED if action == "drop" and not kept else kept
        if isinstance(value, list):
            elements = [self._value(element, paths) for element in value]
            kept_elements = [element for element in elements if not isinstance(element, _Dropped)]
            return _DROPPED if action == "drop" and not kept_elements else kept_elements
        if action == "drop":
            return _DROPPED
        if action == "keep" or value is None or _action(self._applied, paths) == "hash":
            return value
        return self._hashed(value)

    def _hashed(self, value: str | float) -> str:
        # Numbers were parsed as JsonText, so a scalar is a text or a boolean.
        text = value if isinstance(value, str) else ("true" if value else "false")
        return hmac.digest(self._key, text.encode(), "sha256").hex()


class _Dropped:
    """Stands for a claim that was dropped."""


_DROPPED = _Dropped()


def _most_specific_first(policy: Mapping[str, str]) -> list[tuple[re.Pattern[str], str]]:
    """The patterns in an order in which the first one that fits wins."""
    ordered = sorted(policy.items(), key=lambda item: (-_literal_length(item[0]), -_STRICTNESS[item[1]], item[0]))
    return [(pattern(text), action) for text, action in ordered]


def _action(patterns: list[tuple[re.Pattern[str], str]], paths: list[str]) -> str:
    for expression, action in patterns:
        if any(map(expression.fullmatch, paths)):
            return action
    return "keep"


def _literal_length(text: str) -> int:
    return sum(character not in "*?[]" for character in text)
