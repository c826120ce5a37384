"""What is known of a session's validation errors, from the definitions alone: event by event, in plain Python."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

Event = Mapping[str, Any]
Pair = tuple[str, str]

# What a customer does to the sheet.
CHANGES = {"file_uploaded", "header_selected", "columns_mapped", "sheet_operation_performed"}


def order(event: Event) -> tuple[Any, ...]:
    return (event["occurred_at"], event["event_id"] is None, event["event_id"] or 0, event["event_uuid"])


def is_report(event: Event) -> bool:
    return event["has_error_counts"] or event["has_unreadable_error_counts"]


def named(event: Event) -> dict[Pair, int]:
    """The counts that could be read."""
    return {(key, code): count for key, codes in event["counts"].items() for code, count in codes.items()}


def count_of(report: Event, pair: Pair) -> int | None:
    """What is not named is 0, but where something in the report could not be read: it may be that."""
    return named(report).get(pair, None if report["has_unreadable_error_counts"] else 0)


def total_of(report: Event) -> int | None:
    return None if report["has_unreadable_error_counts"] else sum(named(report).values())


def session_of(events: Iterable[Event]) -> dict[str, Any]:
    """Columns of fct_embeds, and under `pairs` those of fct_embed_validation_errors, of one session whose events all
    have a plausible time."""
    ordered = sorted(events, key=order)
    numbers = [number for number, event in enumerate(ordered) if is_report(event)]
    if not numbers:
        names = ("first_error_count", "last_error_count", "last_counted_at", "last_counted_event_type")
        return dict.fromkeys((*names, "operations_after_count", "is_recounted")) | {"pairs": {}}
    first, last, after = ordered[numbers[0]], ordered[numbers[-1]], ordered[numbers[-1] + 1 :]
    operations_after = sum(event["event_type"] == "sheet_operation_performed" for event in after)
    is_recounted = not any(event["event_type"] in CHANGES for event in after)
    pairs: dict[Pair, dict[str, Any]] = {}
    for pair in {pair for event in ordered for pair in named(event)}:
        seen = [event["occurred_at"] for event in ordered if pair in named(event)]
        left = count_of(last, pair)
        pairs[pair] = {
            "first_error_count": count_of(first, pair),
            "last_error_count": left,
            "first_seen_at": seen[0],
            "last_seen_at": seen[-1],
            "last_counted_at": last["occurred_at"],
            "last_counted_event_type": last["event_type"],
            "operations_after_count": operations_after,
            "is_resolved": left == 0 if is_recounted and left is not None else None,
        }
    return {
        "first_error_count": total_of(first),
        "last_error_count": total_of(last),
        "last_counted_at": last["occurred_at"],
        "last_counted_event_type": last["event_type"],
        "operations_after_count": operations_after,
        "is_recounted": is_recounted,
        "pairs": pairs,
    }


def days_of(events: Iterable[Event]) -> dict[tuple[date, str, str], dict[str, Any]]:
    """Columns of fct_validation_errors_daily by date, column key and error code, of events of one template whose times
    are all plausible."""
    by_day: dict[date, dict[int, list[Event]]] = {}
    for event in sorted(events, key=order):
        by_day.setdefault(event["event_date"], {}).setdefault(event["embed_id"], []).append(event)
    rows: dict[tuple[date, str, str], dict[str, Any]] = {}
    for day, sessions in by_day.items():
        for pair in {pair for session in sessions.values() for event in session for pair in named(event)}:
            naming = {
                embed_id: session
                for embed_id, session in sessions.items()
                if any(pair in named(event) for event in session)
            }
            whole = [
                [event for event in session if event["has_error_counts"] and not event["has_unreadable_error_counts"]]
                for session in naming.values()
            ]
            known = [named(reports[-1]).get(pair, 0) for reports in whole if reports]
            counts = [named(event)[pair] for session in naming.values() for event in session if pair in named(event)]
            rows[day, *pair] = {
                "embed_count": len(naming),
                "event_count": len(counts),
                "error_count": sum(counts),
                "latest_error_count": sum(known) if known else None,
                "unread_embed_count": whole.count([]),
            }
    return rows


def is_plausible(event: Event, data_through: datetime | None) -> bool:
    """As the warehouse has it: from 2020 on, and at most a day after the latest complete sweep."""
    at: datetime = event["occurred_at"]
    return at >= datetime(2020, 1, 1) and (data_through is None or (at - data_through).total_seconds() <= 86_400)
