"""What alerts say: failed runs, failed checks and stuck sessions, each once per episode.

A failing job is one episode per kind of error, until it succeeds; a failed check is one until it passes; a stuck
session is one until it moves. A message names no claim but the customer's, and repeats no data: an unforeseen error is
told by its type, a failed check by its number of rows. Text from outside stands in code spans, where Slack reads
nothing but text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import SecretStr

from pipelines.errors import TransientError, WarehouseMissingError
from pipelines.messages import webhook
from pipelines.messages.delivery import MessageError
from pipelines.messages.outside_text import slack_text
from pipelines.settings import Settings
from pipelines.warehouse.published import connect_published

# How many runs one look handles. The next look goes on from there.
RUNS_PER_LOOK = 50

# A message should be readable at a glance, so longer texts are cut.
MESSAGE_CHARACTERS = 600
NAME_CHARACTERS = 80

# How many sessions one message lists. It says how many more there are.
SHOWN_SESSIONS = 10

# A session that has not moved for longer than this after it stopped being open cannot become stuck again.
_FORGET_AFTER = timedelta(days=7)

# What to say about failures whose own text may show rows.
_WITHOUT_ROWS = {
    "BuildCheckFailedError": "Blocking checks failed; the published warehouse is unchanged.",
    "ModelFailedError": "A file in sql/ cannot be run, and the run names it; the published warehouse is unchanged.",
}


class AlertNotDeliveredError(TransientError):
    """The webhook did not accept a message. The text does not name its URL."""


@dataclass
class Watch:
    """What has been seen and reported. `after_id` is the last run event; the rest are the reported episodes."""

    after_id: int
    failing_jobs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    failed_checks: list[str] = field(default_factory=list[str])
    stuck: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def read(cls, cursor: str) -> Watch:
        return cls(**json.loads(cursor))

    @classmethod
    def from_now_on(cls, instance: dg.DagsterInstance) -> Watch:
        """A watch that reports nothing that happened before now."""
        latest = [instance.fetch_run_status_changes(kind, limit=1).records for kind in _ENDS]
        return cls(max((records[0].storage_id for records in latest if records), default=0))

    def cursor(self) -> str:
        return json.dumps(asdict(self))


_ENDS = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE)


def look(instance: dg.DagsterInstance, settings: Settings, watch: Watch) -> list[str]:
    """What to report since the last look, one line each, in Slack's markup. Brings `watch` up to date."""
    lines: list[str] = []
    has_published = False
    for storage_id, run_id, is_failure in _ended_runs(instance, watch.after_id):
        watch.after_id = storage_id
        run = instance.get_run_by_id(run_id)
        # A run may have been deleted meanwhile.
        if run is not None:
            lines += _run_lines(instance, settings, watch, run, is_failure=is_failure)
            has_published |= not is_failure
    if has_published:
        lines += _stuck_lines(settings, watch)
    return lines


def post(url: SecretStr, lines: list[str]) -> None:
    """Post one message to a Slack-compatible webhook. Raises AlertNotDeliveredError, which does not show the URL."""
    try:
        webhook.post(url, {"text": "\n".join(lines)}, "EMBED_ANALYTICS_ALERT_WEBHOOK_URL")
    except MessageError as error:
        raise AlertNotDeliveredError(f"{error}: will try again next time.") from None


def _ended_runs(instance: dg.DagsterInstance, after_id: int) -> list[tuple[int, str, bool]]:
    """(event id, run id, whether it failed) of the runs that ended after the event `after_id`, in order."""
    found: list[tuple[int, str, bool]] = []
    bound: int | None = None
    for kind in _ENDS:
        ended = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=after_id)
        result = instance.fetch_run_status_changes(ended, limit=RUNS_PER_LOOK, ascending=True)
        is_failure = kind == dg.DagsterEventType.RUN_FAILURE
        found += [(record.storage_id, record.run_id, is_failure) for record in result.records]
        if result.has_more:
            last = result.records[-1].storage_id
            bound = last if bound is None else min(bound, last)
    return sorted(end for end in found if bound is None or end[0] <= bound)


def _run_lines(
    instance: dg.DagsterInstance, settings: Settings, watch: Watch, run: dg.DagsterRun, *, is_failure: bool
) -> list[str]:
    job = "materialisation" if run.job_name.startswith("__") else run.job_name
    link = f"<{settings.embed_analytics_dagster_url}/runs/{run.run_id}|{job}>"
    lines = list(_check_lines(instance, watch, run, link))
    if not is_failure:
        watch.failing_jobs.pop(job, None)
        return lines
    kind, text = _failure(instance, run)
    reported = watch.failing_jobs.setdefault(job, [])
    if kind in reported:
        return lines
    reported.append(kind)
    return [f":red_circle: *Run failed*: {link}. {slack_text(text, MESSAGE_CHARACTERS)}", *lines]


def _failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[str, str]:
    """The kind and the text of the error that ended a run."""
    for record in instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records:
        data = record.event_log_entry.get_dagster_event().step_failure_data
        failure = data.user_failure_data
        if failure is not None and "error" in failure.metadata:
            kind = str(failure.metadata["error"].value)
            return kind, _WITHOUT_ROWS.get(kind) or failure.description or ""
        if data.error is not None:
            return str(data.error.cls_name), f"{data.error.cls_name} in {record.event_log_entry.step_key}."
    return "", "No step reported an error: the run's process died, or it was stopped."


def _check_lines(instance: dg.DagsterInstance, watch: Watch, run: dg.DagsterRun, link: str) -> Iterable[str]:
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    for record in records:
        check = record.event_log_entry.get_dagster_event().asset_check_evaluation_data
        name = f"{check.asset_key.path[-1]}: {check.check_name}"
        if check.passed:
            if name in watch.failed_checks:
                watch.failed_checks.remove(name)
        elif name not in watch.failed_checks:
            watch.failed_checks.append(name)
            found = check.metadata.get("finding")
            told = "" if found is None else f" {slack_text(str(found.value), MESSAGE_CHARACTERS)}"
            effect = "blocking" if check.blocking else "warning"
            yield f":warning: *Check failed* ({effect}): {name},{told} in {link}."


def _stuck_lines(settings: Settings, watch: Watch) -> list[str]:
    """Sessions that became stuck. An episode is a session and its last event; after an event another may begin."""
    try:
        sessions = _stuck_sessions(settings)
    except WarehouseMissingError:
        return []
    new = [session for session in sessions if _episode(session) not in watch.stuck]
    watch.stuck |= {_episode(session): session["last_event_at"].isoformat() for session in new}
    if sessions:
        # A session that has been stuck for that long is no longer open, and will not be listed again.
        oldest = (
            max(session["data_through"] for session in sessions) - settings.idle_after - _FORGET_AFTER
        ).isoformat()
        watch.stuck = {episode: moved_at for episode, moved_at in watch.stuck.items() if moved_at >= oldest}
    if not new:
        return []
    noun = "session" if len(new) == 1 else "sessions"
    lines = [f":hourglass: *{len(new)} {noun} became stuck*:"]
    lines += [f"• {_session_text(session)}" for session in new[:SHOWN_SESSIONS]]
    if len(new) > SHOWN_SESSIONS:
        lines.append(f"• and {len(new) - SHOWN_SESSIONS} more: `select * from rpt_stuck_embeds`")
    return lines


def _stuck_sessions(settings: Settings) -> list[dict[str, Any]]:
    connection = connect_published(settings.home)
    try:
        result = connection.execute("""
            select
                embed_id, template_key, step, last_event_at, idle_seconds,
                worst_column_key, worst_error_code, worst_error_count,
                coalesce(customer_name, customer_id) as customer, can_still_be_helped, data_through
            from rpt_stuck_embeds
            cross join meta_build
            order by can_still_be_helped desc, priority
        """)
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    finally:
        connection.close()


def _episode(session: dict[str, Any]) -> str:
    return f"{session['embed_id']}@{session['last_event_at'].isoformat()}"


def _session_text(session: dict[str, Any]) -> str:
    """One line, whatever the names of the claim, the template, the column or the code."""

    def shown(name: str) -> str:
        return "not known" if session[name] is None else slack_text(session[name], NAME_CHARACTERS)

    who = f" of {shown('customer')}" if session["customer"] is not None else ""
    text = (
        f"embed {session['embed_id']}{who}: template {shown('template_key')}, at {session['step']} "
        f"for {timedelta(seconds=round(session['idle_seconds']))}"
    )
    if not session["can_still_be_helped"]:
        text += ", most likely left"
    if session["worst_column_key"] is not None:
        worst = f"{shown('worst_error_code')} in {shown('worst_column_key')}"
        text += f"; {session['worst_error_count']} cells with {worst} when last counted"
    return text
