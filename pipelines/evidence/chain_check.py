"""Looks the chain itself over: every line a link, each holding the digest of the one before, none missing, signed.

It reads a snapshot. What a running writer appends later is not looked at. Links are taken as they stand even where one
is wrong, so that one change is one finding and the files are compared with what is left.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.chain import chain, links
from pipelines.chain.linked_paths import relative
from pipelines.chain.links import EMPTY, KINDS, BrokenLinkError, Head, Link
from pipelines.chain.signing import is_signed
from pipelines.errors import ConfigurationError
from pipelines.evidence.findings import Checked, Finding, Since
from pipelines.home.layout import Home

_NAME = re.compile(rf"(\d{{12}}){re.escape(chain.SUFFIX)}")
_REMOVE = "Move it out of raw/chain: nothing reads it."
_RESTORE = "Put the file back from a backup, and keep this one aside: it is evidence."


@dataclass(frozen=True)
class Append:
    """Links that were appended together, and their file."""

    path: Path
    links: Sequence[Link]


@dataclass(frozen=True)
class ReadChain:
    """A chain as it was read. `links` has every line that is a link, in the order of the files."""

    appends: Sequence[Append]
    checked: Checked

    @property
    def links(self) -> Iterator[Link]:
        return (link for append in self.appends for link in append.links)

    @property
    def head(self) -> Head:
        """Where it ends."""
        return self.appends[-1].links[-1].head if self.appends else EMPTY


def read_chain(home: Home) -> ReadChain:
    """The chain as it is now, and what is wrong with it apart from signatures. Raises nothing for its content."""
    checked = Checked()
    appends: list[Append] = []
    head, last = EMPTY, None
    for path in _strays(home):
        reason = "is not a file of links by its place"
        checked.findings.append(Finding("chain", relative(home, path), None, reason, Since(), _REMOVE))
    for path in _snapshot(home):
        name = relative(home, path)
        found, broken = _read(path)
        first = found[0] if found else None
        if not _fits(path, first):
            reason = "is not a file of links by its name and content"
            checked.findings.append(Finding("chain", name, None, reason, Since.between(last, None), _RESTORE))
            if first is None or first.number != head.count:
                continue
        if broken is not None:
            checked.findings.append(Finding("chain", name, None, broken, Since.between(last, None), _RESTORE))
        for link in found:
            if (reason := _reason(link, head)) is not None:
                checked.findings.append(Finding("chain", name, None, reason, Since.between(last, link), _RESTORE))
            head, last = link.head, link
        if found:
            appends.append(Append(path, found))
    return ReadChain(appends, checked)


def links_after(home: Home, head: Head) -> Iterator[Link]:
    """The links that were appended since a chain had `head`, as far as they can be read."""
    for path in chain.link_files(home):
        if (name := _NAME.fullmatch(path.name)) and int(name[1]) >= head.count:
            yield from _read(path)[0]


def check_signatures(home: Home, read: ReadChain, keys: Collection[str]) -> Checked:
    """Whether every signature fits, and by whose key; and that no append without one follows the last.

    With `keys` (hex) only their signatures count, and each append from the first signed one on must have one. Raises
    ConfigurationError where signatures cannot be checked here.
    """
    checked = Checked()
    signers = [_signer(home, append, checked) for append in read.appends]
    is_signed = [key is not None and (not keys or key in keys) for key in signers]
    signed = [place for place, signed in enumerate(is_signed) if signed]
    for key in sorted({signers[place] or "" for place in signed}):
        count = sum(signers[place] == key for place in signed)
        checked.proven.append(f"{count} appends to the chain are signed by the key {key}.")
    if not signed:
        checked.unproven.append(
            "The chain is not signed: whoever may write to the home can write it anew, and it fits itself. "
            "An anchor, or EMBED_ANALYTICS_SIGNING_KEY_FILE, shows that."
        )
        if keys and read.appends:
            checked.findings.append(_not_signed(home, read.appends[0], None, " by the key that was given, nor is any"))
        return checked
    unsigned = [place for place in range(signed[0], len(read.appends)) if not is_signed[place]]
    if keys:
        by = " by the key that was given, and appends before it are"
    else:
        by = ", and appends before it are"
        checked.unproven.append("Whose key that is: compare it with yours, or give its public half with --key.")
        covered = [place for place in unsigned if place < signed[-1]]
        unsigned = unsigned[len(covered) :]
        if covered:
            checked.notes.append(f"{len(covered)} appends have no signature of their own; a later one covers them.")
    if signed[0]:
        first = read.appends[signed[0]].links[0]
        checked.notes.append(
            f"Links 0 to {first.number - 1} were there before the first signature ({first.at}), which covers them as "
            "they were then."
        )
    for place in unsigned:
        before = max(each for each in signed if each < place)
        checked.findings.append(_not_signed(home, read.appends[place], read.appends[before].links[-1], by))
    return checked


def _not_signed(home: Home, append: Append, after: Link | None, by: str) -> Finding:
    return Finding(
        "chain",
        relative(home, append.path),
        None,
        f"is not signed{by}",
        Since.between(after, append.links[0]),
        "Set EMBED_ANALYTICS_SIGNING_KEY_FILE wherever this home is written to. Where it was set, somebody without the "
        "key wrote this.",
    )


def _signer(home: Home, append: Append, checked: Checked) -> str | None:
    """The key whose signature ends an append; a finding for each signature that does not fit."""
    signer = None
    for link in append.links:
        if link.kind != "signature":
            signer = None
            continue
        key, signature = link.facts.get("key"), link.facts.get("signature")
        if isinstance(key, str) and isinstance(signature, str) and _is_signed(key, signature, link.previous):
            signer = key
        else:
            signer = None
            reason = f"has a signature (link {link.number}) that does not fit the links before it"
            since = Since.between(None, link)
            checked.findings.append(Finding("chain", relative(home, append.path), None, reason, since, _RESTORE))
    return signer


def _is_signed(key: str, signature: str, previous: str) -> bool:
    try:
        return is_signed(key, signature, bytes.fromhex(previous))
    except ModuleNotFoundError:
        raise ConfigurationError(
            "The chain is signed, and the extra `evidence` is not installed: pip install 'embed-analytics[evidence]'."
        ) from None
    except ValueError:
        return False


def read_public_key(path: Path) -> str:
    """The Ed25519 public key (hex) of a PEM file. Raises ConfigurationError."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ModuleNotFoundError:
        raise ConfigurationError(
            "--key needs the extra `evidence`, which is not installed: pip install 'embed-analytics[evidence]'."
        ) from None
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"--key {path} cannot be read ({error.strerror}).") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(
            f"--key {path} is not an Ed25519 public key in PEM: openssl pkey -in chain.pem -pubout writes it."
        )
    return key.public_bytes_raw().hex()


def _snapshot(home: Home) -> list[Path]:
    """The files of the chain up to one moment.

    A folder that grows while it is listed may show a later file and not an earlier one. All that is not later than the
    last of a first listing was there before the second one began.
    """
    first = chain.link_files(home)
    end = first[-1] if first else None
    return [path for path in chain.link_files(home) if end is not None and path <= end]


def _strays(home: Home) -> list[Path]:
    """Files that lie beside the folders of the chain."""
    return sorted(path for path in home.raw_chain.glob("*") if not path.is_dir())


def _read(path: Path) -> tuple[list[Link], str | None]:
    """The links of a file, and what is wrong with its lines."""
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        return [], f"cannot be read ({error.strerror})"
    found: list[Link] = []
    broken = None if not rest else "is cut: its last line has no end"
    if not lines:
        broken = broken or "is empty"
    for number, line in enumerate([*lines, rest] if rest else lines, 1):
        try:
            found.append(links.read(line))
        except BrokenLinkError as error:
            broken = f"has a line ({number}) that {error}"
    return found, broken


def _fits(path: Path, first: Link | None) -> bool:
    """Whether a file lies where its first link belongs."""
    name = _NAME.fullmatch(path.name)
    if name is None or (first is not None and first.number != int(name[1])):
        return False
    return path.parent.name == chain.folder_name(int(name[1]))


def _reason(link: Link, head: Head) -> str | None:
    """Why a link cannot follow `head`."""
    if link.number > head.count:
        missing = "link" if link.number == head.count + 1 else "links"
        last = "" if link.number == head.count + 1 else f" to {link.number - 1}"
        return f"goes on with link {link.number}, and the {missing} before it ({head.count}{last}) cannot be found"
    if link.number < head.count:
        return f"has link {link.number}, which was there already or stands at the wrong place"
    if link.previous != head.digest:
        return f"has link {link.number}, which followed other links than those that are there: one was changed"
    if link.kind not in KINDS:
        return f"has link {link.number} of a kind that this version does not know"
    return None
