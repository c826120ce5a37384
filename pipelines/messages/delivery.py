"""What can become of a message, and how long it is tried."""

from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from pipelines.errors import EmbedAnalyticsError, PermanentError, TransientError


class MessageError(EmbedAnalyticsError):
    """A message was not delivered, as far as is known. The text names the setting and shows no address of it."""


class NotTakenError(MessageError, TransientError):
    """It was not taken now, for sure. `retry_after`: the seconds after which the receiver wants to be asked again."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RefusedError(MessageError, PermanentError):
    """It was refused, and would be refused again."""


class DeliveryUnknownError(MessageError, PermanentError):
    """The connection broke after the message had been handed over: it may have arrived, so it is not tried again."""


@dataclass(frozen=True)
class Patience:
    """How often a message is tried. The waits in between are random, and grow from `wait_seconds` on."""

    attempts: int = 5
    wait_seconds: float = 2.0
    longest_seconds: float = 30.0


def deliver(send: Callable[[], None], patience: Patience) -> None:
    """Call `send` until it does not raise NotTakenError, no sooner than that asks. Other errors are raised at once."""
    backoff = tenacity.wait_random_exponential(multiplier=patience.wait_seconds, max=patience.longest_seconds)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, NotTakenError) else None
        return max(backoff(state), asked or 0.0)

    tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(NotTakenError),
        stop=tenacity.stop_after_attempt(patience.attempts),
        wait=wait,
        reraise=True,
    )(send)
