"""Decrypts the claims of raw, once for each different payload, which all events of a session share.

A value whose key is missing, or whose subject was erased, is null. What no key has encrypted stays the text that it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import polars as pl

from pipelines.keys.cipher import require_cryptography
from pipelines.keys.key_store import Key
from pipelines.keys.keyrings import Keyrings
from pipelines.keys.stored_texts import BODY, KEY_ID, KEYRING, MARK, Encrypted, read
from pipelines.oneschema.claim_paths import escape, split
from pipelines.oneschema.json_text import Json, JsonText, dumps, loads_carefully

# An encrypted value in a payload's JSON. What has it for a key, or within a longer text, is something else: a quote
# within a text has a backslash before it.
_IN_JSON = re.compile(rf'(?<!\\)"{MARK}({KEYRING}):({KEY_ID}):({BODY})"(?!\s*:)')
_ANY = f'"{MARK}'
_MOST_CACHED = 50_000
_UNKNOWN = Key("", None)

DECRYPTED = pl.Schema({"claims": pl.String(), "is_encrypted": pl.Boolean(), "has_missing_key": pl.Boolean()})
"""A payload as the lake has it; whether raw has any of its values encrypted; whether a key for them is missing. A value
of an erased subject has no key that could be missing."""


@dataclass(frozen=True)
class _Opened:
    """What a stored text stands for, as JSON; None: no key has encrypted it for its path."""

    json_text: str | None
    is_key_missing: bool = False


class Decryption:
    """Decrypts payloads with the keys of a home. Threads may share it.

    Raises ConfigurationError if the package for that is not installed.
    """

    def __init__(self, keyrings: Keyrings) -> None:
        require_cryptography("raw has encrypted claims")
        self._keyrings = keyrings
        self._keys: dict[tuple[str, str], Key | None] = {}
        # By how many encrypted values a payload has, where the last one with as many had them: as claim paths, and as
        # keys from the top. Payloads of one integration are alike, so hardly any has to be walked through.
        self._places: dict[int, list[tuple[str, list[str]]]] = {}
        # By path and stored text: a person's sessions have the same ones.
        self._opened: dict[tuple[str, str], _Opened] = {}

    def decrypt(self, payloads: pl.Series) -> pl.DataFrame:
        """DECRYPTED of each payload."""
        may_be = payloads.str.contains(_ANY, literal=True).fill_null(value=False)
        distinct = payloads.filter(may_be).unique()
        self._opened = {}
        if distinct.is_empty():
            return pl.DataFrame({"claims": payloads}).with_columns(is_encrypted=False, has_missing_key=False)
        found = pl.DataFrame(list(map(self._payload, distinct)), schema=DECRYPTED, orient="row")
        known = pl.DataFrame({"stored": distinct}).hstack(found)
        return (
            pl.DataFrame({"stored": payloads})
            .join(known, on="stored", how="left", maintain_order="left")
            .select(
                pl.coalesce("claims", "stored").alias("claims"),
                *(pl.col(name).fill_null(value=False) for name in DECRYPTED.names()[1:]),
            )
        )

    def _payload(self, stored: str) -> tuple[str, bool, bool]:
        matches = list(_IN_JSON.finditer(stored))
        places = self._places.get(len(matches))
        # A text that only looks so has one mark more.
        if places is None or stored.count(MARK) != len(matches) or not _are_at(places, matches, stored):
            return self._carefully(stored)
        pieces: list[str] = []
        end, is_key_missing = 0, False
        for match, (path, _) in zip(matches, places, strict=True):
            name = path, match.group()
            opened = self._opened.get(name)
            if opened is None:
                opened = self._opened[name] = self._open(Encrypted(*match.groups()), path)
            if opened.json_text is None:
                return self._carefully(stored)
            pieces += (stored[end : match.start()], opened.json_text)
            end, is_key_missing = match.end(), is_key_missing or opened.is_key_missing
        return "".join([*pieces, stored[end:]]), bool(matches), is_key_missing

    def _carefully(self, stored: str) -> tuple[str, bool, bool]:
        """The same, by walking through the payload."""
        paths: list[str] = []
        opened: list[_Opened] = []

        def walk(value: Json, path: str | None) -> Json:
            if isinstance(value, dict):
                before = "" if path is None else f"{path}."
                return {key: walk(each, before + escape(key)) for key, each in value.items()}
            if isinstance(value, list):
                return [walk(each, path) for each in value]
            if type(value) is not str or path is None:
                return value
            text = read(value, self._keyrings.named)
            if isinstance(text, str):
                return text
            found = self._open(text, path)
            if found.json_text is None:
                return value
            paths.append(path)
            opened.append(found)
            return JsonText(found.json_text)

        payload = walk(loads_carefully(stored, keep_numbers=True), None)
        self._places[len(paths)] = [(path, split(path)) for path in paths]
        return dumps(payload), bool(opened), any(each.is_key_missing for each in opened)

    def _open(self, stored: Encrypted, path: str) -> _Opened:
        if stored.keyring not in self._keyrings.named:
            return _Opened(None)
        key = self._key(stored.keyring, stored.key_id)
        if key is None:
            return _Opened("null", is_key_missing=True)
        if key.cipher is None or not stored.body:
            return _Opened("null")
        return _Opened(key.cipher.decrypt(path, stored.body))

    def _key(self, *name: *tuple[str, str]) -> Key | None:
        known = self._keys.get(name, _UNKNOWN)
        if known is _UNKNOWN:
            known = self._keyrings.key(*name)
            if len(self._keys) > _MOST_CACHED:
                self._keys.clear()
            self._keys[name] = known
        return known


def decryption_of(keyrings: Keyrings) -> Decryption | None:
    """What decrypts the claims of a home; None if it has no encrypted ones."""
    return Decryption(keyrings) if keyrings.named else None


def _are_at(places: Sequence[tuple[str, list[str]]], matches: Sequence[re.Match[str]], stored: str) -> bool:
    """Whether a payload has these encrypted values at these places. Elements of arrays have none of their own."""
    try:
        payload: Json = orjson.loads(stored)
    except orjson.JSONDecodeError:
        # A number that no double holds.
        return False
    for match, (_, keys) in zip(matches, places, strict=True):
        value: Json = payload
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value != match.group()[1:-1]:
            return False
    return True
