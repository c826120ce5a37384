"""What the receiver counts, for Prometheus."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from pipelines.home.times import utc_now
from pipelines.webhooks.journal import Journal
from pipelines.webhooks.segments import segment_sizes

PREFIX = "embed_analytics_webhook"

REASONS = {
    "unauthorized": "401: no secret, or a wrong one",
    "malformed": "400: not HTTP",
    "too_large": "413, 431: a body or a head over the limit",
    "timeout": "408: the request did not arrive whole in time",
    "overloaded": "429: too many events wait for the disk, or too many connections are open",
    "disk": "429: the disk refused the write",
}

# Reasons why a body that was answered with 200 ends in quarantine.
UNREADABLE_REASONS = {
    "encoding": "the body is not what its Content-Encoding says",
    "json": "the body is not JSON",
    "no_uuid": "the body is JSON, but not an event with a uuid",
}


class Metrics:
    """Counters of one receiver, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.received = Counter(
            f"{PREFIX}_received", "Events stored durably and answered with 200.", registry=self.registry
        )
        self.duplicates = Counter(
            f"{PREFIX}_duplicates", "Received events whose uuid had come shortly before.", registry=self.registry
        )
        rejected = Counter(
            f"{PREFIX}_rejected", "Requests that were not stored, by reason.", ["reason"], registry=self.registry
        )
        self.rejected = {reason: rejected.labels(reason) for reason in REASONS}
        unreadable = Counter(
            f"{PREFIX}_unreadable",
            "Bodies stored durably and answered with 200 that are not an event, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.unreadable = {reason: unreadable.labels(reason) for reason in UNREADABLE_REASONS}
        self.fsync_seconds = Histogram(
            f"{PREFIX}_fsync_seconds",
            "Time of one fsync of the journal.",
            registry=self.registry,
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
        )

    def committed(self, line_count: int, seconds: float) -> None:
        """Count one fsync, and the events that it stored."""
        self.received.inc(line_count)
        self.fsync_seconds.observe(seconds)

    def watch(self, journal: Journal) -> None:
        """Show what the journal holds at each scrape."""
        for name, text, value in (
            ("waiting", "Events waiting for their fsync.", lambda: journal.waiting_count),
            (
                "backlog_segments",
                "Journal segments not yet removed by a refresh.",
                lambda: _segments(journal.folder),
            ),
            ("backlog_bytes", "Bytes in those segments.", lambda: _bytes(journal.folder)),
            ("backlog_seconds", "Age of the oldest of those segments.", lambda: backlog_seconds(journal.folder)),
        ):
            Gauge(f"{PREFIX}_{name}", text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


def _segments(folder: Path) -> int:
    return len(segment_sizes(folder))


def _bytes(folder: Path) -> int:
    return sum(segment.size_bytes for segment in segment_sizes(folder))


def backlog_seconds(folder: Path) -> float:
    """The age of the oldest segment that holds anything. 0 if there is none."""
    segments = segment_sizes(folder)
    now = utc_now()
    return max((now - segments[0].started_at).total_seconds(), 0.0) if segments else 0.0
