"""Shows at the top of a failed run what went wrong and what to do next."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from pipelines.errors import (
    CheckFailedError,
    ConfigurationError,
    CredentialRefusedError,
    EmbedAnalyticsError,
    HostUnreachableError,
    SourceError,
    TransientError,
    WrongHomeError,
)
from pipelines.orchestration.instance.terminal_runs import is_terminal_run
from pipelines.warehouse.sql_errors import ModelError

# A retry goes on from what had landed, so it is cheap. The next scheduled refresh asks in any case.
RETRY = dg.RetryPolicy(max_retries=2, delay=20, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

NEXT_STEPS: dict[type[EmbedAnalyticsError], str] = {
    CheckFailedError: "look at the failed checks; once the cause is fixed, materialise any warehouse table, which "
    "builds and publishes without asking the API",
    ModelError: "correct the file; then run `embed-analytics publish`, or materialise any warehouse table, which "
    "builds and publishes without asking the API",
    ConfigurationError: "correct the setting, restart `make dev` if it is running, and launch the run again",
    CredentialRefusedError: "set the ONESCHEMA_API_KEY of this region, restart `make dev` and launch the run again",
    WrongHomeError: "correct the setting that the message names, restart `make dev` and launch the run again",
    HostUnreachableError: "check the network and ONESCHEMA_API_URL; nothing is lost, the next run goes on from here",
    SourceError: "see whether the vendor reports an incident; nothing is lost, the next run goes on from here",
}

_INTERRUPTS = (dg.DagsterExecutionInterruptedError, KeyboardInterrupt)


@contextmanager
def clear_failures(context: dg.AssetExecutionContext) -> Generator[None]:
    """Show an error that was raised on purpose as the failure's text. Only transient ones are retried."""
    try:
        yield
    except (*_INTERRUPTS, BaseExceptionGroup) as interrupt:
        # An interrupt that comes while a connection is being opened arrives in a group.
        if isinstance(interrupt, BaseExceptionGroup) and interrupt.subgroup(_INTERRUPTS) is None:
            raise
        # Dagster would take the interrupt for a transient fault, and retry the step.
        raise dg.Failure(
            "The run was stopped. Nothing is lost: the next run goes on from what had landed.",
            metadata={"error": "Interrupted"},
            allow_retries=False,
        ) from interrupt
    except EmbedAnalyticsError as error:
        raise failure_of(error, allow_retries=may_be_tried_again(context, error)) from error


def may_be_tried_again(context: dg.AssetExecutionContext, error: EmbedAnalyticsError) -> bool:
    """Whether RETRY applies. It does not in a terminal, where the user sees why the run failed and need not wait."""
    return isinstance(error, TransientError) and not is_terminal_run(context.run)


def failure_of(error: EmbedAnalyticsError, *, allow_retries: bool, effect: str = "") -> dg.Failure:
    """The failure that shows an error, its effect and the next step. Its metadata also has `error`, the kind."""
    step = next((step for kind, step in NEXT_STEPS.items() if isinstance(error, kind)), None)
    return dg.Failure(
        description=" ".join(filter(None, (str(error), effect, f"Next: {step}." if step else ""))),
        metadata={"error": type(error).__name__} | ({"next_step": step} if step else {}),
        allow_retries=allow_retries,
    )
