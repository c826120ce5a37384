"""The errors this project raises on purpose.

A `PermanentError` needs a person: another setting, another file, another command. A `TransientError` may pass when the
same thing is tried again. Each message names what to change and never holds a credential. The command line prints it as
one line, and Dagster shows it at the top of a failed run.
"""


class EmbedAnalyticsError(Exception):
    """Base of every error that this project raises on purpose."""


class PermanentError(EmbedAnalyticsError):
    """Trying again changes nothing."""


class TransientError(EmbedAnalyticsError):
    """Trying again later may work."""


class ConfigurationError(PermanentError):
    """A setting is missing or has a value that cannot be used. The message names it."""


class CredentialRefusedError(PermanentError):
    """The API answered 401 or 403; `status` says which."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WrongHomeError(PermanentError):
    """The home holds events of another API or organisation."""


class InterruptedRunError(PermanentError):
    """Somebody stopped the run (Ctrl-C); the command ends with 130."""


class WarehouseMissingError(PermanentError):
    """Nothing has been published in this home yet."""


class CheckFailedError(PermanentError):
    """A blocking check found rows that must not be published."""


class HostUnreachableError(TransientError):
    """The API host did not answer at all."""


class RunHistoryUnreachableError(TransientError):
    """The PostgreSQL database with Dagster's run history does not answer."""


class JournalEndedError(TransientError):
    """The webhook receiver cannot store events any more."""


class SourceError(TransientError):
    """The API answered, but with a fault that lasted through all retries."""
