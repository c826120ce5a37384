"""The digest in words, once for every way in which it is sent: sections of lines, and of numbers side by side.

Text from outside is marked, so that each way can make it harmless as it has to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.digest import words
from pipelines.digest.numbers import BEFORE, NOW, Change, Number, Numbers
from pipelines.home.printable import printable
from pipelines.messages.outside_text import one_line
from pipelines.report.customers import FEWEST_SESSIONS

# How many of a kind a digest lists. It says how many more there are.
SHOWN = 10

# A name is read at a glance, a finding is a sentence. No part of a line that is from outside, or code, is longer than
# LONGEST: each of its characters may take five in Slack, and lines must stay shorter than a block.
NAME_CHARACTERS, FINDING_CHARACTERS, LONGEST = 80, 200, 300


class Outside(str):
    """Text that others chose. It is shown as text, and told apart from ours."""

    __slots__ = ()


class Code(str):
    """Our own text, in which each character counts: SQL, a command, the name of a step."""

    __slots__ = ()


# The parts of one line.
Text = Sequence[str]


@dataclass(frozen=True)
class Line:
    text: Text
    is_alarm: bool = False


@dataclass(frozen=True)
class Cell:
    """A number, what it is out of, and its interval; both are empty for a count."""

    value: str
    out_of: str = ""
    interval: str = ""

    @property
    def about(self) -> str:
        return f"{self.out_of}. {self.interval}" if self.out_of else ""


@dataclass(frozen=True)
class Row:
    """A number in the last 28 mature days and in the 28 before."""

    label: Text
    now: Cell
    before: Cell


@dataclass(frozen=True)
class Section:
    """Rows, then lines."""

    heading: str
    rows: Sequence[Row]
    lines: Sequence[Line]


@dataclass(frozen=True)
class Document:
    """A digest. `summary` is one line of numbers alone. `link` is the address of the page, if it has one."""

    title: str
    summary: str
    lead: Line
    sections: Sequence[Section]
    link: str | None
    ends: Sequence[Line]


@dataclass(frozen=True)
class Occasion:
    """What a digest says beside its numbers. `now` is UTC; `page` is where the page's file is, if there is one."""

    now: datetime
    late_after_seconds: float
    names_customers: bool
    link: str | None
    page: str | None


def compose(numbers: Numbers, occasion: Occasion) -> Document:
    """The digest of these numbers."""
    sections = [_totals(numbers), _moved(numbers)]
    if occasion.names_customers:
        sections.append(_falls(numbers))
    sections += [_stuck(numbers), _quality(numbers)]
    return Document(
        "Embed imports",
        _summary(numbers),
        _lead(numbers, occasion),
        sections,
        occasion.link,
        [*_where(occasion), _build(numbers)],
    )


def _summary(numbers: Numbers) -> str:
    sessions, submitted = numbers.totals.get(("sessions", NOW)), numbers.totals.get(("submitted", NOW))
    if sessions is None or submitted is None:
        return "no session on a mature day"
    return (
        f"{words.counted(sessions.value)} sessions, {words.share(submitted.value)} submitted, "
        f"28 days to {numbers.days[NOW][1]}"
    )


def _lead(numbers: Numbers, occasion: Occasion) -> Line:
    if numbers.data_through is None:
        return Line(["No sweep has completed yet, so nothing is known to be mature."], is_alarm=True)
    age = max(0.0, (occasion.now - numbers.data_through).total_seconds())
    text = f"Data through {words.moment(numbers.data_through)}, {words.duration(age)} ago."
    if age <= occasion.late_after_seconds:
        return Line([text])
    late = f" This is late: it should be at most {words.duration(occasion.late_after_seconds)}."
    return Line([text, late], is_alarm=True)


def _totals(numbers: Numbers) -> Section:
    young = numbers.totals.get(("sessions", "since"))
    count = words.counted(young.value if young else 0)
    lines = [Line([f"{count} sessions that began since are too young to be compared, and left out."])]
    if NOW not in numbers.days:
        return Section("The last 28 mature days", [], [Line(["No session began on them."]), *lines])
    rows = [
        Row([label], _total(numbers, metric, NOW, written), _total(numbers, metric, BEFORE, written))
        for metric, label, written in (
            ("sessions", "Sessions", words.counted),
            ("submitted", "Submitted", words.share),
            ("delivered", "Delivered, of submitted ones whose delivery is known", words.share),
            ("seconds_to_submit_median", "From upload to submission, median", words.duration),
            ("seconds_to_submit_p90", "From upload to submission, 90th percentile", words.duration),
        )
    ]
    first, last = numbers.days[NOW]
    return Section(f"Sessions that began from {first} to {last}, beside the 28 days before", rows, lines)


def _total(numbers: Numbers, metric: str, period: str, written: Callable[[float | None], str]) -> Cell:
    number = numbers.totals.get((metric, period))
    return Cell("no sessions") if number is None else _cell(number, written)


def _cell(number: Number, written: Callable[[float | None], str]) -> Cell:
    out_of = words.out_of(number)
    return Cell(written(number.value), out_of, words.interval(number, written) if out_of else "")


def _row(label: Text, now: Number, before: Number, written: Callable[[float | None], str]) -> Row:
    return Row(label, _cell(now, written), _cell(before, written))


# By metric: what stands behind the template's name, and how the number is written.
_WRITTEN = {
    "submitted": ("submitted", words.share),
    "delivered": ("delivered", words.share),
    "dropped": ("got no further than ", words.share),
    "seconds_to_submit_median": ("median from upload to submission", words.duration),
    "seconds_to_submit_p90": ("90th percentile from upload to submission", words.duration),
}


def _moved(numbers: Numbers) -> Section:
    rows = [_changed(change) for change in numbers.moved[:SHOWN]]
    rule = "Rates and times, of each template and of all, whose 95 % intervals in the two periods do not overlap."
    left_out = _left_out(len(numbers.moved), "from rpt_metrics where period in ('last_28_days', 'previous_28_days')")
    return Section("What moved", rows, [*left_out, Line([rule if rows else f"Nothing. {rule}"])])


def _changed(change: Change) -> Row:
    template = "all templates" if change.is_all_templates else _name(change.template)
    said, written = _WRITTEN[change.metric]
    step = [] if change.step is None else [Code(change.step)]
    return _row([template, ": ", said, *step], change.now, change.before, written)


def _name(name: str | None) -> str:
    return "(not known)" if name is None else Outside(one_line(name, NAME_CHARACTERS))


def _left_out(count: int, sql: str) -> Iterator[Line]:
    if count > SHOWN:
        yield Line([f"And {count - SHOWN:,} more: ", Code(sql)])


def _falls(numbers: Numbers) -> Section:
    rows = [_row([_name(fall.customer)], fall.now, fall.before, words.share) for fall in numbers.falls[:SHOWN]]
    rule = (
        f"The share that submitted, of customers with at least {FEWEST_SESSIONS} sessions in both periods. Falls "
        "beyond the interval stand first, then the worst. Where the intervals overlap, it may well be the same."
    )
    left_out = _left_out(len(numbers.falls), "from rpt_metrics where metric = 'submitted' and not is_all_customers")
    return Section("Customers whose conversion fell", rows, [*left_out, Line([rule if rows else f"None. {rule}"])])


def _stuck(numbers: Numbers) -> Section:
    stuck, helpable, still_open = (words.counted(_now(numbers, name)) for name in ("stuck", "stuck_helpable", "open"))
    return Section(
        "Stuck when the data ends",
        [],
        [
            Line([f"{stuck} of {still_open} open sessions, and {helpable} of these can still be helped."]),
            Line(["Whom first, and with what: ", Code("from rpt_stuck_embeds where can_still_be_helped")]),
        ],
    )


def _now(numbers: Numbers, metric: str) -> float | None:
    number = numbers.totals.get((metric, "now"))
    return None if number is None else number.value


def _quality(numbers: Numbers) -> Section:
    lines = [
        Line([f"{label}: {words.counted(_now(numbers, metric))}"], is_alarm and bool(_now(numbers, metric)))
        for metric, label, is_alarm in (
            ("broken_sweeps", "Sweeps that broke off since", True),
            ("failed_embeds", "Embeds that failed", True),
            ("held_events", "Events held", False),
            ("purged_events", "Of these gone at the vendor", False),
            ("unheld_events", "At the vendor, not held", True),
            ("unreconciled_days", "Days not reconciled", False),
            ("quarantined_events", "Quarantined", True),
        )
    ]
    return Section("Can this be believed?", [], [*lines, *_checks(numbers)])


def _checks(numbers: Numbers) -> Iterator[Line]:
    if numbers.warnings is None:
        yield Line(["Which checks hold is not known: an older version published this."], is_alarm=True)
        return
    if not numbers.warnings:
        yield Line(["All checks hold, or are acknowledged."])
    for finding in numbers.warnings[:SHOWN]:
        found = Outside(one_line(finding.finding, FINDING_CHARACTERS))
        yield Line(["Does not hold: ", _name(finding.name), " found ", found], is_alarm=True)
    yield from _left_out(len(numbers.warnings), "from builder.checks where not passed")


def _where(occasion: Occasion) -> Iterator[Line]:
    if occasion.link is not None:
        return
    if occasion.page is None:
        yield Line([Code("embed-analytics report"), " writes a page with all of it."])
    else:
        yield Line(["The page with all of it: ", Code(printable(occasion.page))])


def _build(numbers: Numbers) -> Line:
    return Line([f"Build {numbers.build_id}. Every number is a row of rpt_metrics in warehouse.duckdb."])
