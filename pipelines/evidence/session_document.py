"""A session in words, once for both forms of it, a page to print and plain text: sections of facts and of rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.evidence.session_facts import COMPLETENESS, SessionFacts
from pipelines.evidence.session_rows import SessionRows
from pipelines.evidence.shown import outside, shown

_NOT_KNOWN = "not known"

_PROVES = (
    "The rows in rows.jsonl are raw's rows of this session as they are stored: credentials were taken out and the "
    "claim policy was applied before they were written. Each row leads to a link of the chain, and each link to the "
    "head. So whoever knows a head or the public key from elsewhere knows that no row, and nothing on this page, was "
    "changed since that head or signature was made. verify.py checks this, and needs Python alone."
)
_DOES_NOT_PROVE = (
    "It does not prove that the source told the truth, nor that it told everything: see the verdict of each day. The "
    "times are those of the source and of this machine's clock; only a time-stamp of an authority is more. Without a "
    "head or a key that is known from elsewhere, whoever can write to the home could have made all of this. The "
    "numbers of this page are rows of the published warehouse, which is made from raw; `embed-analytics verify` holds "
    "one against the other, and verify.py does not."
)


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, facts (label and value), then a table. Values are ready to be shown."""

    heading: str
    paragraphs: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Document:
    title: str
    sections: Sequence[Section]


def document_of(
    about: Mapping[str, Any], asked: Mapping[str, Any], found: SessionRows, facts: SessionFacts
) -> Document:
    """The document of a pack. `about` is its about.json, `asked` its access.json."""
    return Document(
        f"Session {about['embed_id']}",
        [
            _header(about, asked, found, facts),
            Section("What this pack proves", [_PROVES]),
            Section("What it does not prove", [_DOES_NOT_PROVE]),
            *(_session(facts) if facts.missing is None else [Section("Session", [facts.missing])]),
            *_gaps(facts, found),
            _definitions(facts),
        ],
    )


def _header(about: Mapping[str, Any], asked: Mapping[str, Any], found: SessionRows, facts: SessionFacts) -> Section:
    build = facts.row("meta_build")
    policy = about["claim_policy"]
    return Section(
        "Evidence pack",
        facts=[
            ("organisation", _known(about["organisation"])),
            ("API", _known(about["api_url"])),
            ("embed", str(about["embed_id"])),
            ("template", _known(about["template_key"])),
            ("environment", _known(about["environment_name"])),
            ("rows of raw", f"{len(found.rows)}, in {len({row.file for row in found.rows})} files"),
            ("asked by", outside(asked["user"])),
            ("asked at", f"{found.access.at} (link {found.access.number} of the chain)"),
            ("reason", outside(asked["reason"])),
            ("claim policy", ", ".join(f"{outside(path)}: {policy[path]}" for path in policy) or "keeps all claims"),
            ("code", about["code_version"]),
            ("published build", _known(build.get("build_id"))),
            ("its data reach to", _known(build.get("data_through"))),
        ],
    )


def _session(facts: SessionFacts) -> Iterator[Section]:
    session = facts.rows("fct_embeds")
    if not session:
        yield Section("Session", ["The published warehouse has no event of this session: see its rows of raw."])
    for row in session:
        yield Section("Session", facts=[(_words(name), _known(value)) for name, value in row.items()])
    yield _table(facts, "Events", "rpt_embed_timeline")
    yield _table(facts, "Errors of each event that reports them", "stg_validation_errors")
    yield _table(facts, "Errors when they were first and last counted", "fct_embed_validation_errors")


def _gaps(facts: SessionFacts, found: SessionRows) -> Iterator[Section]:
    if facts.missing is None:
        yield _table(facts, "Gaps: pauses of 15 minutes and more", "fct_embed_pauses")
        yield _table(facts, "Gaps: what could not be read", "meta_quarantine")
        yield _table(facts, "Gaps: each day of the session, beside the source", "meta_coverage")
    if COMPLETENESS in facts.tables:
        yield _table(facts, "Verdict of each day", COMPLETENESS)
    else:
        yield Section("Verdict of each day", ["Not known: the published warehouse has none."])
    yield Section(
        "Files of raw that are left out",
        [] if found.left_out else ["None."],
        columns=["file", "why"] if found.left_out else [],
        rows=[[outside(left.file), outside(left.reason)] for left in found.left_out],
    )


def _definitions(facts: SessionFacts) -> Section:
    """What the published tables say of themselves."""
    return Section("What the numbers mean", facts=[(name, table.definition) for name, table in facts.tables.items()])


def _table(facts: SessionFacts, heading: str, name: str) -> Section:
    """All rows of a published table. A text that is the same in all of several rows is a fact before them, and a column
    that is NULL in all is left out."""
    rows = facts.rows(name)
    columns = [column for column in facts.tables[name].columns if any(row[column] is not None for row in rows)]
    texts = [column for column in columns if len(rows) > 1 and isinstance(rows[0][column], str)]
    common = [column for column in texts if all(row[column] == rows[0][column] for row in rows)]
    columns = [column for column in columns if column not in common]
    return Section(
        f"{heading} ({name})",
        [] if rows else ["None."],
        [(f"{_words(column)} of all", shown(rows[0][column])) for column in common],
        columns=[_words(column) for column in columns],
        rows=[[shown(row[column]) for column in columns] for row in rows],
    )


def _known(value: object) -> str:
    return _NOT_KNOWN if value is None else shown(value)


def _words(column: str) -> str:
    return column.replace("_", " ")
