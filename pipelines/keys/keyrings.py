"""Which keyrings raw's claims are encrypted by, and which of them are here.

An empty file `raw/keyrings/<id>` names each keyring that ever encrypted anything. It goes wherever raw goes. So raw
without `keys/` is known to hold values that nobody can read, and a home without this folder pays nothing.
`keys/keys.sqlite` is the keyring that encrypts. Any other `keys/*.sqlite` is only read, such as one from a backup that
was found after a new one had been begun.
"""

import json
import re
from dataclasses import asdict
from pathlib import Path

from pipelines.home.files import TEMPORARY_PREFIX, fsync, make_folder, write_text
from pipelines.home.layout import Home
from pipelines.keys.key_store import Key, KeyStore, Summary, create
from pipelines.keys.stored_texts import KEYRING

_STATE = "keys.json"


def named_keyrings(home: Home) -> frozenset[str]:
    """The ids of the keyrings that raw names."""
    if not home.raw_keyrings.is_dir():
        return frozenset()
    return frozenset(path.name for path in home.raw_keyrings.iterdir() if re.fullmatch(KEYRING, path.name))


def open_or_create(home: Home) -> KeyStore:
    """The keyring that encrypts. When this returns, it is durable, and raw names it."""
    if not home.key_store.exists():
        create(home.key_store)
    store = KeyStore(home.key_store)
    if store.keyring not in named_keyrings(home):
        make_folder(home.raw_keyrings)
        # Its name is all that it says. A temporary one would be swept by a refresh that begins now.
        (home.raw_keyrings / store.keyring).touch(mode=0o600)
        fsync(home.raw_keyrings)
    return store


class Keyrings:
    """The keyrings that raw names, for reading. Threads may share it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.named = named_keyrings(home)
        self._stores: dict[str, KeyStore] = {}
        for path in _files(home):
            store = KeyStore(path)
            # Two copies of a keyring: the one that encrypts comes first, and knows what was erased.
            if store.keyring in self.named and store.keyring not in self._stores:
                self._stores[store.keyring] = store
            else:
                store.close()

    def close(self) -> None:
        for store in self._stores.values():
            store.close()

    @property
    def missing(self) -> list[str]:
        """The keyrings that raw names and `keys/` does not have, sorted."""
        return sorted(self.named - self._stores.keys())

    def key(self, keyring: str, key_id: str) -> Key | None:
        """A key of a keyring; None if it is missing."""
        store = self._stores.get(keyring)
        return None if store is None else store.key(key_id)

    def summaries(self) -> dict[str, Summary | None]:
        """By keyring its summary; None if it is missing."""
        return dict.fromkeys(self.missing) | {keyring: store.summary() for keyring, store in self._stores.items()}

    def have_changed(self) -> bool:
        """Whether any key was lost, changed or came back since `remember`. True if that is not known."""
        try:
            noted = json.loads((self._home.state / _STATE).read_text(encoding="utf-8"))
            former = {keyring: about and Summary(**about) for keyring, about in noted.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return True
        return any(not self._is_same(keyring, about) for keyring, about in former.items())

    def remember(self, summaries: dict[str, Summary | None]) -> None:
        """Note that the lake is as these keyrings have it."""
        text = json.dumps({keyring: summary and asdict(summary) for keyring, summary in sorted(summaries.items())})
        path = self._home.state / _STATE
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
            write_text(text, path)

    def _is_same(self, keyring: str, former: Summary | None) -> bool:
        store = self._stores.get(keyring)
        if store is None or former is None:
            return store is None and former is None
        return store.is_same_but_for_new_keys(former)


def _files(home: Home) -> list[Path]:
    """The files of keys, the one that encrypts first."""
    if not home.keys.is_dir():
        return []
    others = {path for path in home.keys.glob("*.sqlite") if not path.name.startswith(TEMPORARY_PREFIX)}
    return sorted(others, key=lambda path: (path != home.key_store, path.name))
