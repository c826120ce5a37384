"""What people and automations do in one embed: the steps of a session in time, and the data of each step.

A journey is made in two passes, because a list of 200,000 embeds needs their statuses but not their events. `walk`
gives the times and types of all steps, cheaply. `data_of_steps` gives the payloads, when someone asks for the events.
"""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from pipelines.simulator.json_values import Json
from pipelines.simulator.templates import AUTOFIX, OPERATIONS, UNKNOWN_EVENT_TYPES, Template

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
Counts = dict[str, dict[str, int]]

# The share of files in which the importer finds the header rows by itself.
_HEADER_DETECTED = 0.75

_OPERATION_SCALE = list(accumulate(weight for _, weight, _ in OPERATIONS))


class Step(NamedTuple):
    """One event that will happen: seconds since the embed's start, type, trigger, and the number of its token.

    Where its pane is skipped, nothing is sent: the session goes on as it would have, without the event.
    """

    offset: float
    event_type: str
    trigger_type: str
    token: int
    is_sent: bool = True


@dataclass(frozen=True, slots=True)
class Journey:
    """All steps of an embed, by offset. `import_seconds` is how long the vendor takes to import what was submitted, and
    `import_fails` whether that ends in a failure."""

    steps: tuple[Step, ...]
    import_seconds: float
    import_fails: bool
    imported_row_count: int


class _Walk:
    """The state of one walk: where in time it is, and how far the import has come (0 nothing .. 4 submitted)."""

    def __init__(self, rng: Random, template: Template, pane_rng: Random | None) -> None:
        self.rng = rng
        self.template = template
        # Numbers of its own, so that a session that skips panes is the same session but for their events.
        self.pane_rng = pane_rng
        self.skipped_panes: set[str] = set()
        self.offset = 0.0
        self.stage = 0
        self.token = 0
        self.steps: list[Step] = []

    def add(self, event_type: str, trigger_type: str, pause: float) -> None:
        """A step, `pause` seconds after the last one (drawn around it)."""
        if pause:
            self.offset += 0.4 + self.rng.expovariate(1 / pause)
        self.steps.append(Step(self.offset, event_type, trigger_type, self.token))

    def pass_pane(self, event_type: str, trigger_type: str, pause: float) -> None:
        """The step of a pane that comes up by itself after an upload, unless the importer skips it."""
        self.add(event_type, trigger_type, pause)
        if event_type in self.skipped_panes:
            self.steps[-1] = self.steps[-1]._replace(is_sent=False)

    def sit_down(self) -> bool:
        """One sitting of a person, from where the import stands. True when it ends by itself, False when given up."""
        if self.stage == 4:
            self.add("embed_closed", "user", 20)
            return True
        return self.prepare() and self.review()

    def prepare(self) -> bool:
        """From the open importer to mapped columns; each screen loses some people."""
        roll, difficulty = self.rng.random, self.template.difficulty
        if self.stage == 0:
            if roll() < 0.14:
                return False
            self.upload()
        if self.stage == 1:
            if roll() < 0.05 * difficulty:
                return False
            self.pass_pane("header_selected", "user", 14)
            self.stage = 2
        if self.stage == 2:
            if roll() < 0.1 * difficulty:
                return False
            self.pass_pane("columns_mapped", "user", 75)
            self.stage = 3
            if roll() < 0.02:
                self.add(UNKNOWN_EVENT_TYPES[roll() < 0.3], "user", 5)
        return True

    def review(self) -> bool:
        """Operations on the Review & Finalize pane, sometimes with a step back, up to submitting."""
        roll, difficulty = self.rng.random, self.template.difficulty
        if roll() < 0.06:
            # A wrong file: everything again, in the same sitting.
            self.upload()
            self.pass_pane("header_selected", "user", 10)
            self.pass_pane("columns_mapped", "user", 40)
            self.stage = 3
        for _ in range(min(24, int(self.rng.expovariate(1 / (2.6 * difficulty))))):
            self.add("sheet_operation_performed", "user", 38)
            if roll() < 0.02:
                self.add("columns_mapped", "user", 60)
        if roll() < 0.17 * difficulty:
            return False
        if roll() < 0.08:
            self.add("columns_mapped", "user", 60)
        self.submit("user")
        if roll() < 0.78:
            self.add("embed_closed", "user", 3)
        return True

    def upload(self) -> None:
        self.add("file_uploaded", "user", 35)
        while self.rng.random() < 0.09:
            self.add("file_uploaded", "user", 50)
        self.choose_panes()
        self.stage = 1

    def choose_panes(self) -> None:
        """Which panes the importer skips for the file that came last."""
        if self.pane_rng is not None:
            shares = {"header_selected": _HEADER_DETECTED, "columns_mapped": self.template.mapping_skipped}
            self.skipped_panes = {pane for pane, share in shares.items() if self.pane_rng.random() < share}

    def submit(self, trigger_type: str) -> None:
        self.add("import_submitted", trigger_type, 25)
        self.stage = 4

    def leave_and_return(self) -> bool:
        """After giving up: closing or not, and coming back or not. True when the person is back."""
        roll = self.rng.random
        if roll() < 0.55:
            self.add("embed_closed", "user", 15)
        if roll() > 0.38:
            return False
        self.offset += min(24 * DAY, self.rng.lognormvariate(9.8, 1.7))
        self.resume(0.4)
        return True

    def resume(self, new_token_share: float) -> None:
        if self.rng.random() < new_token_share:
            self.token += 1
        self.add("embed_resumed", "user", 1)

    def people(self) -> None:
        for _ in range(5):
            if self.sit_down() or not self.leave_and_return():
                break
        if self.stage == 4 and self.rng.random() < 0.04:
            # Someone looks again at what was imported.
            self.offset += self.rng.lognormvariate(11, 1.3)
            self.resume(0.4)
            self.sit_down()

    def automation(self) -> None:
        """A file that comes by SFTP or API, and what the customer's automation makes of it."""
        roll = self.rng.random
        self.add("file_uploaded", "api", 2)
        self.choose_panes()
        # Machines are quick: their steps can fall on one instant.
        self.pass_pane("header_selected", "automation", 0 if roll() < 0.3 else 0.5)
        if roll() < 0.03:
            return
        self.pass_pane("columns_mapped", "automation", 0 if roll() < 0.3 else 2)
        self.stage = 3
        for _ in range(int(roll() * 3)):
            self.add("sheet_operation_performed", "automation", 0 if roll() < 0.3 else 1)
        if roll() < 0.72:
            self.submit("api" if roll() < 0.25 else "automation")
        elif roll() < 0.6:
            # Errors that a person has to look at.
            self.offset += self.rng.lognormvariate(8.5, 1.4)
            self.resume(0)
            self.people()


def walk(rng: Random, template: Template, pane_rng: Random | None = None) -> Journey:
    """The steps of one embed. The first is its embed_initialized, at offset 0. With `pane_rng` panes are skipped."""
    walked = _Walk(rng, template, pane_rng)
    kind = rng.random()
    if kind < 0.78:
        walked.add("embed_initialized", "user", 0)
        walked.people()
    elif kind < 0.91:
        # Made by API and handed to a person, who may never open it.
        walked.add("embed_initialized", "api", 0)
        if rng.random() < 0.84:
            walked.offset += rng.lognormvariate(7.5, 1.8)
            walked.resume(0)
            walked.people()
    else:
        walked.add("embed_initialized", "api", 0)
        walked.automation()
    fate = rng.random()
    # Some imports are never heard of again. Those by webhook may fail, or take hours to days.
    import_seconds = float("inf") if fate < 0.03 else 3 + rng.expovariate(1 / 45)
    is_webhook = template.import_type == "webhook"
    if is_webhook and 0.06 <= fate < 0.12:
        import_seconds *= 2000
    row_count = int(template.rows * rng.lognormvariate(0, 0.8))
    return Journey(tuple(walked.steps), import_seconds, is_webhook and 0.03 <= fate < 0.06, row_count)


def data_of_steps(
    rng: Random, template: Template, journey: Journey, *, counts_everywhere: bool
) -> list[dict[str, Json] | None]:
    """The `data` of each step, in order. None if the event comes without any.

    Error counts start with each file, fall with each operation, and ride on every columns_mapped, `{}` when nothing is
    left. With `counts_everywhere` import_submitted and embed_closed have them at times.
    """
    sheet = _Sheet(rng, template, journey.imported_row_count, counts_everywhere=counts_everywhere)
    datas: list[dict[str, Json] | None] = []
    for step in journey.steps:
        data = sheet.data_of(step)
        is_lost = step.event_type != "columns_mapped" and rng.random() < 0.012
        datas.append(None if is_lost else data)
    return datas


class _Sheet:
    """The sheet of one embed, and the errors that are left in it."""

    def __init__(self, rng: Random, template: Template, rows: int, *, counts_everywhere: bool) -> None:
        self.rng = rng
        self.template = template
        self.rows = rows
        self.counts_everywhere = counts_everywhere
        self.counts: Counts = {}
        self.is_new_file = False
        self.is_mapped = False

    def data_of(self, step: Step) -> dict[str, Json]:
        match step.event_type:
            case "file_uploaded":
                self.is_new_file = True
                is_chatty = self.template.key == "leads"
                return {"file": {"type": "csv", "row_count": self.rows}} if is_chatty else {}
            case "columns_mapped":
                return self.map_columns()
            case "sheet_operation_performed":
                return self.operate(is_automatic=step.trigger_type == "automation")
            case "import_submitted":
                return {"import_type": self.template.import_type, **self.report(0.35, is_documented=False)}
            case "embed_closed":
                return self.report(0.3, is_documented=False)
            case "embed_initialized" | "embed_resumed" | "header_selected":
                return {}
            case _:
                columns: list[Json] = [key for key, _ in self.template.columns[:2]]
                return {"columns": columns, "accepted": self.rng.random() < 0.5}

    def map_columns(self) -> dict[str, Json]:
        if self.is_new_file:
            self.counts = _errors_of_a_file(self.rng, self.template, self.rows)
        elif self.rng.random() < 0.6:
            _mend(self.rng, self.counts, 0.5)
        self.is_new_file, self.is_mapped = False, True
        return self.report(1, is_documented=True)

    def operate(self, *, is_automatic: bool) -> dict[str, Json]:
        if is_automatic:
            operation, left = AUTOFIX
        else:
            operation, _, left = OPERATIONS[bisect(_OPERATION_SCALE, self.rng.random() * _OPERATION_SCALE[-1])]
        _mend(self.rng, self.counts, left)
        return {"operation": operation}

    def report(self, chance: float, *, is_documented: bool) -> dict[str, Json]:
        """The counts as they are now, with probability `chance`, once there is a sheet. Where the vendor does not
        document them, only in an account that has them everywhere."""
        # Drawn in every account, so that nothing else in the world differs.
        is_drawn = self.is_mapped and self.rng.random() < chance
        if not is_drawn or not (is_documented or self.counts_everywhere):
            return {}
        return {"validation_error_counts": {column_key: dict(codes) for column_key, codes in self.counts.items()}}


def _errors_of_a_file(rng: Random, template: Template, rows: int) -> Counts:
    counts: Counts = {}
    if rng.random() < 0.12:
        return counts
    for flaw in template.flaws:
        if rng.random() < flaw.chance:
            count = 1 + int(rows * flaw.share * rng.random() ** 2)
            counts.setdefault(flaw.column_key, {})[flaw.error_code] = count
    return counts


def _mend(rng: Random, counts: Counts, left: float) -> None:
    """Works on the most frequent error; `left` is about the share of it that stays."""
    if not counts or left >= 1:
        return
    column_key = max(counts, key=lambda key: max(counts[key].values()))
    codes = counts[column_key]
    error_code = max(codes, key=codes.__getitem__)
    remaining = int(codes[error_code] * left * rng.uniform(0.3, 1.0))
    if remaining:
        codes[error_code] = remaining
    else:
        del codes[error_code]
        if not codes:
            del counts[column_key]
