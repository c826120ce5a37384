"""Opens the poll's state, and makes it again from raw where it is damaged."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager

from pipelines.chain import chain
from pipelines.errors import TransientError
from pipelines.home.layout import Home
from pipelines.home.sealed import Damage
from pipelines.poll import coverage, state_file
from pipelines.poll.poll_state import SCHEMA, PollState
from pipelines.raw import held
from pipelines.raw.landing import begin_chain


class DamagedStateError(TransientError):
    """The state was found to be damaged while it was in use, and has been set aside: the next one is made from raw."""


class LockedStateError(TransientError):
    """A process of another program has the state's file locked."""


@contextmanager
def open_state(home: Home, say: Callable[[str], None] = lambda _: None) -> Generator[PollState]:
    """The state of `home`, caught up with raw. The caller holds the home's writer lock.

    A damaged state is set aside under another name and made again from raw, and `say` gets a line about it. Raises
    LockedStateError; DamagedStateError when it turns out to be damaged later.
    """
    chain.finish(home)
    begin_chain(home, say)
    home.state.mkdir(parents=True, exist_ok=True)
    try:
        if (damage := state_file.find_damage(home)) is not None:
            _set_aside(home, damage, say)
        try:
            state = _open(home)
        except sqlite3.DatabaseError as error:
            if not state_file.says_damage(error):
                raise
            _set_aside(home, Damage(home.poll_state, f"is damaged ({error})"), say)
            state = _open(home)
        try:
            yield state
        finally:
            state.connection.close()
            state_file.note_closed(home)
    except sqlite3.DatabaseError as error:
        path = home.poll_state
        if state_file.says_locked(error):
            raise LockedStateError(f"{path} is locked by another process: close what has it open.") from error
        if not state_file.says_damage(error):
            raise
        _set_aside(home, Damage(path, f"is damaged ({error})"), say)
        raise DamagedStateError(f"{path} was damaged ({error}) and has been set aside: run again.") from error


def _open(home: Home) -> PollState:
    connection = sqlite3.connect(home.poll_state, check_same_thread=False)
    try:
        connection.execute("pragma journal_mode = wal")
        state_file.note_open(home)
        connection.execute("pragma synchronous = full")
        connection.executescript(SCHEMA)
        held.create_tables(connection)
        coverage.create_tables(connection)
        state = PollState(home, connection)
        state.add_missing_fields()
        state.add_claim_patterns()
        state.forget_implausible_times()
        state.recover()
    except BaseException:
        connection.close()
        raise
    return state


def _set_aside(home: Home, damage: Damage, say: Callable[[str], None]) -> None:
    aside = f"It is kept as {state_file.set_aside(home).name}. " if damage.path.exists() else ""
    say(f"{damage}. {aside}It is made again from raw, and every embed is asked again.")
