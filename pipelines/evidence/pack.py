"""Makes the evidence pack of a session: one zip that others can verify. docs/evidence.md describes its format."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pipelines.chain import chain
from pipelines.chain.links import Head, Link
from pipelines.errors import ConfigurationError, PermanentError
from pipelines.evidence import pack_verifier
from pipelines.evidence.access_log import details_file, note_access
from pipelines.evidence.session_document import document_of
from pipelines.evidence.session_facts import COMPLETENESS, SessionFacts, read_session_facts
from pipelines.evidence.session_forms import as_html, as_text
from pipelines.evidence.session_rows import LeftOut, SessionRows, read_session_rows
from pipelines.evidence.shown import shown
from pipelines.home.code_version import code_version
from pipelines.home.files import write_bytes
from pipelines.home.layout import Home
from pipelines.home.ownership import owner_of, writer_lock
from pipelines.settings import Settings

# Every pack has the same, so that equal members make equal bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_NUMBERS = range(-(2**63), 2**63)
_UNIX, _PRIVATE = 3, 0o100600

# Of a year, nearly all is digests, which a higher level does not make smaller.
_LEVEL = 1


@dataclass(frozen=True)
class Pack:
    """A pack that was written: where, how many rows it has, which files it lacks, and the chain's head in it."""

    path: Path
    row_count: int
    left_out: list[LeftOut]
    head: Head


def write_pack(settings: Settings, embed_id: int, out: Path, reason: str, on_wait: Callable[[str], None]) -> Pack:
    """Write the evidence pack of a session to `out`, for its owner alone. It replaces what is there.

    First the chain notes who asks and why, even where there is nothing to pack. Waits for the home's writer lock.
    Raises ConfigurationError for a reason or a path that cannot be used, PermanentError where raw has no provable row
    of the embed or the chain cannot be followed.
    """
    if not reason.strip():
        raise ConfigurationError("--reason is empty: say why this session is looked at. The home's log keeps it.")
    if embed_id not in _NUMBERS:
        raise ConfigurationError(f"--embed {embed_id} is beyond the numbers that an embed can have.")
    if out.is_dir():
        raise ConfigurationError(f"--out {out} is a folder: name a file.")
    home = settings.home
    if not chain.has_links(home):
        raise PermanentError(f"{home.root} has no chain yet: `embed-analytics publish` begins it, where raw has files.")
    asked = note_access(home, "evidence", reason, {"embed": embed_id, "out": str(out.absolute())}, on_wait)
    with writer_lock(home, on_wait):
        found = read_session_rows(home, embed_id, asked)
        if not found.rows:
            raise _nothing(home, embed_id, found.left_out)
        facts = read_session_facts(home, embed_id)
        members = _members(settings, embed_id, found, facts)
        digests = {name: pack_verifier.sha256(content) for name, content in members.items()}
        head = chain.append(home, [("pack", {"access": found.access.number, "members": digests})])
        links = [*found.links, *chain.end_of(home).links]
    members["links.jsonl"] = b"".join(link.line + b"\n" for link in links)
    members["heads.json"] = pack_verifier.heads_of([_content(link) for link in links], [head.digest])
    try:
        write_bytes(_zipped(members), out, is_private=True)
    except OSError as error:
        raise ConfigurationError(f"--out {out} cannot be written ({error.strerror}).") from None
    return Pack(out, len(found.rows), found.left_out, head)


def _content(link: Link) -> dict[str, Any]:
    """What the line of a link says."""
    return {"number": link.number, "kind": link.kind, "at": link.at, "previous": link.previous, **link.facts}


def _nothing(home: Home, embed_id: int, left_out: list[LeftOut]) -> PermanentError:
    if left_out:
        files = "; ".join(f"{left.file} {left.reason}" for left in left_out)
        return PermanentError(
            f"No row of embed {embed_id} in {home.root} can be proven: {files}. `embed-analytics verify` says what to "
            "do."
        )
    return PermanentError(
        f"Raw in {home.root} has no row of an embed {embed_id}: look for its number with `embed-analytics query "
        '"select embed_id, user_id, entry_at from fct_embeds"`, or run `embed-analytics refresh` if it is new.'
    )


def _members(settings: Settings, embed_id: int, found: SessionRows, facts: SessionFacts) -> dict[str, bytes]:
    """The members that the pack's link names."""
    access = details_file(settings.home, found.access.facts["details"]).read_bytes()
    about = _about(settings, embed_id, found, facts)
    document = document_of(about, json.loads(access), found, facts)
    proofs = ",\n".join(
        json.dumps({"file": row.file, "position": row.position, "link": row.link, "proof": row.proof})
        for row in found.rows
    )
    return {
        "about.json": json.dumps(about, ensure_ascii=False, indent=1, default=shown).encode() + b"\n",
        "access.json": access,
        "rows.jsonl": b"".join(row.text + b"\n" for row in found.rows),
        "proofs.json": f"[\n{proofs}\n]\n".encode(),
        "session.html": as_html(document).encode(),
        "session.txt": as_text(document).encode(),
        "verify.py": Path(pack_verifier.__file__).read_bytes(),
    }


def _about(settings: Settings, embed_id: int, found: SessionRows, facts: SessionFacts) -> dict[str, Any]:
    """What holds for the whole pack; null is not known."""
    owner: Mapping[str, str | None] = owner_of(settings.home) or {}
    session = facts.row("fct_embeds")
    return {
        "organisation": owner.get("organisation"),
        "api_url": owner.get("api_url"),
        "embed_id": embed_id,
        "environment_name": session.get("environment_name"),
        "template_key": session.get("template_key"),
        "code_version": code_version(),
        "claim_policy": settings.embed_analytics_claim_policy,
        "published": facts.row("meta_build") or None,
        "coverage": facts.rows("meta_coverage") if facts.missing is None else None,
        "completeness": facts.rows(COMPLETENESS) if COMPLETENESS in facts.tables else None,
        "left_out": [vars(left) for left in found.left_out],
    }


def _zipped(members: Mapping[str, bytes]) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in pack_verifier.MEMBERS:
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.create_system, info.external_attr = _UNIX, _PRIVATE << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, members[name], compresslevel=_LEVEL)
    return content.getvalue()
