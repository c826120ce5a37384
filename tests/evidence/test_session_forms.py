"""The page and the text of a pack, whatever others have chosen to be called."""

import json
from datetime import datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.chain import links
from pipelines.chain.links import EMPTY
from pipelines.evidence.session_document import document_of
from pipelines.evidence.session_facts import SessionFacts
from pipelines.evidence.session_forms import as_html, as_text
from pipelines.evidence.session_rows import LeftOut, ProvenRow, SessionRows
from pipelines.evidence.shown import LONGEST, outside
from pipelines.report.tables import Table
from tests.proving import examples

HOSTILE = [
    "<script>hacked=1</script>",
    "</td></table><img src=x onerror=hacked=1>",
    '"><a href="javascript:hacked=1">',
    '=HYPERLINK("http://x.invalid")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\tcmd",
    "\u202egnp.exe\u2066",
    "\x1b[2J\x07\0",
    "line\nheading\n=======",
    "\u2028\u2029\x85\r",
    "שלום 12 עולם",
    "\ud800",
    "&amp;&#60;",
    "",
    " ",
    "a" * 10_000,
    "<" * 10_000,
]
hostile = st.sampled_from(HOSTILE) | st.text(max_size=60)
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "dt", "dd", "br"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "scope"}


class Page(HTMLParser):
    """What a browser would find: the tags, their attributes, the texts of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._in_cell = tag in ("td", "dd")
        if self._in_cell:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


def forms(texts: list[str]) -> tuple[str, str]:
    """The page and the text of a session in which every text is one of these."""
    at = datetime(2026, 12, 1, 9, 30, 0, 5)
    event = [1, at, None, *texts, 3]
    columns = ["event_number", "occurred_at", "seconds_since_previous", *(f"text_{n}" for n in range(len(texts)))]
    tables = {
        "fct_embeds": Table(["user_id", "skipped_steps", "plan"], [[texts[0], [texts[1]], None]], "A session."),
        "rpt_embed_timeline": Table([*columns, "error_count"], [event, event], "Events."),
        **{
            name: Table(["reason", "error_count"], [[text, None] for text in texts], "Rows.")
            for name in (
                *("stg_validation_errors", "fct_embed_validation_errors", "fct_embed_pauses", "meta_quarantine"),
                *("meta_coverage", "meta_completeness"),
            )
        },
    }
    about = {
        **dict.fromkeys(("organisation", "api_url", "template_key", "environment_name"), texts[0]),
        **{"embed_id": 7, "code_version": "0.1.0", "claim_policy": {texts[0]: "drop"}},
    }
    found = SessionRows(
        [ProvenRow(b"{}", "raw/file.parquet", 0, 0, [])],
        [LeftOut(texts[0], texts[1])],
        [],
        links.make("access", {}, "2026-12-01T09:30:00.000000Z", EMPTY),
    )
    document = document_of(about, {"user": texts[0], "reason": texts[1]}, found, SessionFacts(tables))
    return as_html(document), as_text(document)


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(60))
@given(st.lists(hostile, min_size=2, max_size=4))
def test_whatever_others_choose_is_text(texts: list[str]) -> None:
    page, text = forms(texts)
    found = Page(page)
    assert found.tags == TAGS - (set() if "<br>" in page else {"br"})
    assert found.attributes <= ATTRIBUTES
    assert all(cell.isprintable() for cell in found.cells)
    assert not [cell for cell in found.cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "'")]
    lines = text.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    # Each value is on a line of its own, so the number of lines does not depend on what they say.
    harmless = [f"x{texts.index(chosen)}" for chosen in texts]
    assert len(lines) == len(forms(harmless)[1].removesuffix("\n").split("\n"))
    for chosen in texts:
        assert outside(chosen) in found.cells
        assert any(line.endswith(f": {outside(chosen)}") for line in lines)


@pytest.mark.prove
@settings(max_examples=examples(200))
@given(hostile.filter(lambda text: len(text) <= LONGEST))
def test_a_text_can_be_read_back(text: str) -> None:
    shown = outside(text)
    assert (json.loads(shown) if shown.startswith('"') else shown) == text


def test_a_long_text_is_cut_and_says_so() -> None:
    assert outside("a" * 10_000) == "a" * LONGEST + "... (10000 characters, see rows.jsonl)"
