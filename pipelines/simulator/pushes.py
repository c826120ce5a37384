"""What the account's webhooks would send: each event once, some of them compressed, odd or broken.

An event's shape is drawn from the seed and its uuid, so every run meets the same shapes.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipelines.simulator.options import PushShape
from pipelines.simulator.simulation import Simulation

UNREADABLE_SHAPES: frozenset[PushShape] = frozenset({"malformed", "cut", "cut-gzip"})
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Push:
    """One POST to `/events`, without its Authorization. `shape` is None if the event is sent as documented."""

    uuid: str
    shape: PushShape | None
    body: bytes
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_readable(self) -> bool:
        """Whether a receiver can tell the event from the body."""
        return self.shape not in UNREADABLE_SHAPES


def pushes(simulation: Simulation) -> Iterator[Push]:
    """A push of every generated event that was created up to the clock, embed by embed.

    Half of the events have one of the shapes that are switched on (`push_shapes`).
    """
    shapes = simulation.switches.push_shapes
    for index in range(len(simulation.world.ids)):
        for event in simulation.world.events(index):
            if event.created_at > simulation.clock.now():
                continue
            draw = int.from_bytes(
                hashlib.blake2b(f"{simulation.options.seed} {event.uuid}".encode(), digest_size=8).digest()
            )
            is_odd = bool(shapes) and draw % 2 == 1
            shape = shapes[draw // 2 % len(shapes)] if is_odd else None
            yield _push(event.uuid, shape, simulation.full_json(event), draw // 2)


def _push(uuid: str, shape: PushShape | None, event: bytes, draw: int) -> Push:
    body, headers = event, dict[str, str]()
    if shape == "gzip":
        body, headers = gzip.compress(event, mtime=0), {"Content-Encoding": "gzip"}
    elif shape == "deflate":
        body, headers = zlib.compress(event), {"Content-Encoding": "deflate"}
    elif shape == "bom":
        body = _BOM + event
    elif shape == "control":
        body = event[:-1] + b',"note":"a\x02b\x1f\nc"}'
    elif shape == "upgrade":
        headers = {"Upgrade": "h2c", "Connection": "Upgrade"}
    elif shape == "malformed":
        body = (event + b"}", event[:-1] + b",}", event.replace(b'"', b"'"))[draw % 3]
    elif shape == "cut":
        body = event[: draw % len(event)]
    elif shape == "cut-gzip":
        packed = gzip.compress(event, mtime=0)
        # Not within the trailing checksum alone: the magic bytes and a part of the content are there.
        body, headers = packed[: 2 + draw % (len(packed) - 2)], {"Content-Encoding": "gzip"}
    return Push(uuid, shape, body, headers)
