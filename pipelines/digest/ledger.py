"""Which digest was sent to whom: a small file in the home's `state/`, so that nothing is sent twice for one period.

It is written before a message is handed over and again afterwards. A process that is killed in between leaves
`sending`, and then nobody knows whether the message arrived.
"""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, cast

from filelock import FileLock, Timeout

from pipelines.errors import PermanentError
from pipelines.home.files import write_text
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home, unwritable

State = Literal["sending", "sent"]

# Periods that are remembered: the present one, and some that a clock set back could come to again.
PERIODS = 12


class Ledger:
    """What is known of each message, by period and channel. Only `opened` makes one."""

    def __init__(self, home: Home) -> None:
        self._path = home.digest_ledger
        self._held: dict[str, dict[str, State]] = self._read()

    def state(self, period: str, channel: str) -> State | None:
        """`sent`, or `sending` where that is not known; None where it was not sent."""
        return self._held.get(period, {}).get(channel)

    def note(self, period: str, channel: str, state: State | None) -> None:
        """Remember it durably. Raises OSError, and then nothing has changed."""
        states = dict(self._held.get(period, {}))
        if state is None:
            states.pop(channel, None)
        else:
            states[channel] = state
        held = {**self._held, period: states}
        latest = sorted(held, reverse=True)[:PERIODS]
        held = {each: held[each] for each in sorted({*latest, period})}
        write_text(json.dumps(held, indent=1) + "\n", self._path)
        self._held = held

    def _read(self) -> dict[str, dict[str, State]]:
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
            if all(state in ("sending", "sent") for states in held.values() for state in states.values()):
                return cast(dict[str, dict[str, State]], held)
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError):
            pass
        raise PermanentError(
            f"{self._path} is damaged, so it is not known what was sent: remove it, and the digest of this period is "
            "sent, perhaps once more."
        )


@contextmanager
def opened(home: Home, on_wait: Callable[[str], None]) -> Generator[Ledger]:
    """The home's ledger, for one process at a time: an operating-system lock, which dies with its process.

    Raises ConfigurationError when the home cannot be written to, PermanentError when the ledger is damaged.
    """
    try:
        open_home(home)
        home.state.mkdir(exist_ok=True)
        lock = FileLock(home.state / "digest.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait("Another process is sending the digest: waiting until it is done.")
            lock.acquire()
    except OSError as error:
        raise unwritable(home, error) from error
    try:
        yield Ledger(home)
    finally:
        lock.release()
