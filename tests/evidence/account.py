"""A home with a session that came by API and by webhook, with others beside it, and a signed chain."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import orjson
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipelines import steps
from pipelines.evidence.access_log import note_access
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.poll.sweeping import raw_events, settings_for, sweep
from tests.webhooks.receiving import running_receiver

HOSTILE = '=cmd|"/C calc"!A0 <script>window.hacked=1</script>\u202e\x1b[2J\u2028'
# What others say of themselves, wherever an event can say it; and what is asked about them.
OTHERS = "somebody-else"
ASKED_BEFORE = "about somebody-else, who complained"


@dataclass(frozen=True)
class Account:
    settings: Settings
    embed_id: int
    public_key: str

    @property
    def root(self) -> Path:
        return self.settings.home.root

    def rows(self) -> pl.DataFrame:
        """Raw's rows of the session's events, told apart by what the tests have sent."""
        is_odd = pl.col("odd").str.contains(f'"embed_id":"{self.embed_id}"', literal=True).fill_null(value=False)
        return raw_events(self.root).filter((pl.col("embed_id") == self.embed_id) | is_odd)


def signing_key(folder: Path) -> tuple[Path, str]:
    """A new key in a file, and its public key (hex)."""
    key = Ed25519PrivateKey.generate()
    path = folder / "chain.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path, key.public_key().public_bytes_raw().hex()


def made_account(folder: Path) -> Account:
    """Two sweeps of a simulated account, and webhooks before the second: the session's first event once more, another
    version of it, a new one with hostile claims, one that says its embed as a text; and events of others."""
    key, public_key = signing_key(folder)
    options = SimulatorOptions(embeds=30, days=3, error_counts="everywhere")
    with running_simulator(options) as simulator:
        settings = settings_for(
            simulator,
            folder / "home",
            embed_analytics_signing_key_file=key,
            embed_analytics_customer_claim="org.name",
            embed_analytics_claim_policy={"email": "drop"},
        )
        sweep(settings)
        found = raw_events(settings.home.root)
        embed_id, others = _largest(found)
        note_access(settings.home, "evidence", ASKED_BEFORE, {"embed": others}, pytest.fail)
        with running_receiver(settings.home.root) as receiver:
            for event in _pushed(found, embed_id, others):
                assert receiver.push(orjson.dumps(event)).status_code == 200
        sweep(settings)
    steps.flatten(settings, on_wait=pytest.fail)
    steps.publish(settings, on_wait=pytest.fail)
    return Account(settings, embed_id, public_key)


def _largest(found: pl.DataFrame) -> tuple[int, int]:
    """The sessions with the most events."""
    first, second = found["embed_id"].value_counts(sort=True)["embed_id"].to_list()[:2]
    return first, second


def _pushed(found: pl.DataFrame, embed_id: int, others: int) -> list[dict[str, Any]]:
    first = found.filter(pl.col("embed_id") == embed_id).sort("created_at").row(0, named=True)
    own = {
        "uuid": first["event_uuid"],
        "embed_id": embed_id,
        "event_type": first["event_type"],
        "trigger_type": first["trigger_type"],
        "created_at": first["created_at"],
        "data": orjson.loads(first["data"]),
        "embed_jwt": _token(HOSTILE),
        "environment_name": "Production",
        "template_key": first["template_key"],
    }
    at = first["created_at"]
    operation = {"event_type": "sheet_operation_performed", "data": {"operation": HOSTILE}}
    other = {**own, "embed_id": others, "embed_jwt": _token(OTHERS), "data": {"operation": OTHERS}}
    return [
        own,
        {**own, "data": {"version": 2}},
        {**own, **operation, "uuid": "event-hostile", "created_at": at + 1},
        {**own, **operation, "uuid": "event-odd", "created_at": at + 2, "embed_id": str(embed_id)},
        {**own, "uuid": "event-unreadable", "created_at": "yesterday"},
        {**other, "uuid": "event-other", "created_at": at + 3},
        {**other, "uuid": "event-other-odd", "created_at": at + 4, "embed_id": str(others)},
        {**other, "uuid": "event-nobodys", "created_at": at + 5, "embed_id": [embed_id]},
    ]


def _token(person: str) -> str:
    claims = {"iss": "client", "user_id": person, "email": f"{person}@example.com", "org": {"name": person}}
    return jwt.encode(claims, "s" * 32)
