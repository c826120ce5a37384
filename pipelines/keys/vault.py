"""Encrypts what tokens claim, and gives the key of digests, while tokens are read.

Keys are made as new subjects come. They are in a home's keyring, which is opened when it is first needed: reading a
token of a home without encrypted claims costs one look for a folder.
"""

from pipelines.home.layout import Home
from pipelines.keys.cipher import require_cryptography
from pipelines.keys.key_store import Key, KeyStore, KeysUnavailableError
from pipelines.keys.keyrings import Keyrings, named_keyrings, open_or_create
from pipelines.keys.stored_texts import MARK, Encrypted, guarded, read


class Vault:
    """The keys of a home. If it `encrypts`, a home without keys gets them. Threads may share it.

    Methods raise KeysUnavailableError and KeysDamagedError. A new vault raises ConfigurationError if it encrypts and
    the package for that is not installed.
    """

    def __init__(self, home: Home, *, encrypts: bool) -> None:
        if encrypts:
            require_cryptography("EMBED_ANALYTICS_CLAIM_POLICY encrypts claims")
        self._home = home
        self._encrypts = encrypts
        self._open: KeyStore | None = None
        self._readers: Keyrings | None = None
        self._was_replaced = False

    @property
    def is_in_use(self) -> bool:
        """Whether any claim of this home is or may be encrypted."""
        return self._encrypts or self._home.raw_keyrings.is_dir()

    @property
    def keyring(self) -> str | None:
        """The id of the keyring that encrypts; None if nothing is encrypted."""
        store = self._store() if self._encrypts else None
        return store and store.keyring

    @property
    def digest_key(self) -> bytes | None:
        """The key of the home's digests; None if no claim was ever encrypted here, or the keys are missing."""
        store = self._open or (self._store() if self.is_in_use else None)
        return store and store.digest_key

    def sealer(self, subject: str) -> "Sealer":
        """What encrypts this subject's values. `flush` has to be called before they are written anywhere."""
        store = self._store()
        assert store is not None, "who encrypts has a keyring"
        return Sealer(store.keyring, store.key_of(subject))

    def guarded(self, text: str) -> str:
        """An ordinary text as it is stored: changed only if it could be taken for an encrypted one."""
        return guarded(text, named_keyrings(self._home)) if text.startswith(MARK) else text

    def read(self, text: str, path: str) -> tuple[str | None, bool]:
        """What a stored text says. For an encrypted value: its JSON text, and True; None, and True, if its key is
        missing or erased. For anything else: the text that it stands for, and False."""
        if not text.startswith(MARK):
            return text, False
        if self._readers is None or self._readers.named != named_keyrings(self._home):
            self._readers = Keyrings(self._home)
        found = read(text, self._readers.named)
        if isinstance(found, str):
            return found, False
        key = self._readers.key(found.keyring, found.key_id)
        if key is None or key.cipher is None or not found.body:
            return None, True
        plain = key.cipher.decrypt(path, found.body)
        return (text, False) if plain is None else (plain, True)

    def flush(self) -> None:
        """Returns when every key that was used is on the disk. Raises OSError.

        Raises KeysUnavailableError, once, if the file of keys was moved away or replaced since the last call: what was
        encrypted meanwhile must not be written, and has to be encrypted again.
        """
        self._drop_replaced()
        if self._was_replaced:
            self._was_replaced = False
            raise KeysUnavailableError(f"{self._home.key_store} was replaced while it was in use: run again.")
        if self._open is not None:
            self._open.flush()

    def _store(self) -> KeyStore | None:
        if self._open is None:
            if self._encrypts:
                self._open = open_or_create(self._home)
            elif self._home.key_store.exists():
                self._open = KeyStore(self._home.key_store)
        return self._open

    def _drop_replaced(self) -> None:
        if self._open is not None and not self._open.is_current:
            self._was_replaced = self._encrypts
            self._open.close()
            self._open = None


class Sealer:
    """Encrypts the values of one subject."""

    def __init__(self, keyring: str, key: Key) -> None:
        self._beginning = str(Encrypted(keyring, key.key_id, ""))
        self._cipher = key.cipher

    def encrypted(self, path: str, json_text: str) -> str:
        """The stored text of a scalar, given as JSON; of an erased subject, one that only says so."""
        return self._beginning + ("" if self._cipher is None else self._cipher.encrypt(path, json_text))
