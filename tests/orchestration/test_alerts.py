"""Alerts on a real HTTP endpoint, by real ticks: each episode once, no secrets, no claims but the configured one."""

import time
from dataclasses import dataclass
from uuid import uuid4

import dagster as dg
import jwt
import pytest
from pydantic import SecretStr

from pipelines.definitions import build_definitions
from pipelines.home.layout import Home
from pipelines.oneschema.json_text import Json
from pipelines.orchestration.alerts import AlertNotDeliveredError
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import RunningSimulator
from pipelines.terminal.runs import RunFailedError, run_job
from tests.orchestration.alert_endpoint import AlertEndpoint
from tests.orchestration.conftest import LAST_DAY, backfill
from tests.orchestration.test_runs import lose_an_event

STUCK = 900_001

# It would shout, begin a line that looks like the alerts' own, and colour it.
CUSTOMER = "Acme <!channel>\n• embed 1 of `Other` *bold* :red_circle:"

# A session is open for as long as its last event is young by the machine's clock.
LIVE = pytest.mark.parametrize("simulator", [SimulatorOptions(embeds=0, days=1, now=None)], indirect=True)

TODAY = partition_range(LAST_DAY, LAST_DAY)


@dataclass
class Ticks:
    """The sensor, its settings and its cursor."""

    instance: dg.DagsterInstance
    settings: Settings
    cursor: str | None = None

    def tick(self) -> str:
        """One tick; returns the reason why it requested no run."""
        repository = build_definitions(self.settings).get_repository_def()
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, repository_def=repository)
        data = repository.get_sensor_def("alerts").evaluate_tick(context)
        assert not data.run_requests
        self.cursor = data.cursor
        return data.skip_message or ""


@pytest.fixture
def ticks(settings: Settings, instance: dg.DagsterInstance, alert_endpoint: AlertEndpoint) -> Ticks:
    url = SecretStr(alert_endpoint.url)
    watching = Ticks(instance, settings.model_copy(update={"embed_analytics_alert_webhook_url": url}))
    assert watching.tick() == "Watching from now on."
    return watching


def _fail(settings: Settings) -> None:
    without_key = settings.model_copy(update={"oneschema_api_key": None})
    with pytest.raises(RunFailedError):
        run_job(without_key, "refresh", run_config("refresh"), TODAY)


def test_nothing_is_posted_without_the_setting(
    settings: Settings, instance: dg.DagsterInstance, alert_endpoint: AlertEndpoint
) -> None:
    unset = Ticks(instance, settings)
    unset.tick()
    _fail(settings)

    assert "is not set" in unset.tick()
    assert alert_endpoint.messages == []
    # Nor about the past, once it is set.
    unset.settings = settings.model_copy(update={"embed_analytics_alert_webhook_url": SecretStr(alert_endpoint.url)})
    unset.tick()
    unset.tick()
    assert alert_endpoint.messages == []


@pytest.mark.slow
def test_a_failing_job_is_told_once_until_it_succeeds(
    settings: Settings, ticks: Ticks, alert_endpoint: AlertEndpoint
) -> None:
    _fail(settings)
    _fail(settings)
    ticks.tick()
    _fail(settings)
    ticks.tick()

    (message,) = alert_endpoint.messages
    assert "*Run failed*" in message
    assert "ONESCHEMA_API_KEY is missing" in message
    assert "/runs/" in message

    run_job(settings, "refresh", run_config("refresh"), TODAY)
    ticks.tick()
    alert_endpoint.messages.clear()
    _fail(settings)
    ticks.tick()
    (message,) = alert_endpoint.messages
    assert "*Run failed*" in message


@pytest.mark.slow
def test_a_failed_check_is_told_once_in_the_message_of_its_run(
    settings: Settings, home: Home, ticks: Ticks, alert_endpoint: AlertEndpoint
) -> None:
    backfill(settings, 5)
    ticks.tick()
    alert_endpoint.messages.clear()
    lose_an_event(home)
    for _ in range(2):
        with pytest.raises(RunFailedError):
            run_job(settings, "publish", {}, {})
        ticks.tick()

    (message,) = alert_endpoint.messages
    assert "Blocking checks failed" in message
    assert "stg_lake_days: deliveries_reconcile, `1 row`" in message


@pytest.mark.slow
@LIVE
def test_a_stuck_session_is_told_once_per_standstill_without_its_claims(
    settings: Settings, ticks: Ticks, alert_endpoint: AlertEndpoint, simulator: RunningSimulator
) -> None:
    _let_one_stand_still(simulator, hours=3)
    for _ in range(2):
        run_job(settings, "refresh", run_config("refresh"), TODAY)
        ticks.tick()

    (message,) = [message for message in alert_endpoint.messages if "became stuck" in message]
    assert "*1 session became stuck*" in message
    assert f"embed {STUCK}: template `planted`, at file_uploaded for 3:0" in message
    for secret in ("Acme", "jane", simulator.api_key, "secret-path"):
        assert secret not in message

    # It moves, and stops again: another episode.
    _let_one_stand_still(simulator, hours=2)
    alert_endpoint.messages.clear()
    for _ in range(2):
        run_job(settings, "reconcile", run_config("reconcile"), TODAY)
        ticks.tick()
    assert len([message for message in alert_endpoint.messages if "became stuck" in message]) == 1


@pytest.mark.slow
@LIVE
def test_the_configured_customer_is_named_and_cannot_shout(
    settings: Settings, ticks: Ticks, alert_endpoint: AlertEndpoint, simulator: RunningSimulator
) -> None:
    named = settings.model_copy(update={"embed_analytics_customer_claim": "org.name"})
    _let_one_stand_still(simulator, hours=3)
    run_job(named, "refresh", run_config("refresh"), TODAY)
    ticks.tick()

    (message,) = [message for message in alert_endpoint.messages if "became stuck" in message]
    assert f"embed {STUCK} of `Acme &lt;!channel&gt; • embed 1 of 'Other' *bold* :red_circle:`: template" in message
    assert ", most likely left" in message
    assert "jane" not in message
    # The headline and one line: none was forged.
    assert len(message.splitlines()) == 2


def test_a_message_that_was_not_taken_is_posted_again_and_the_url_stays_secret(
    settings: Settings, ticks: Ticks, alert_endpoint: AlertEndpoint
) -> None:
    _fail(settings)
    alert_endpoint.status = 503
    cursor = ticks.cursor

    with pytest.raises(Exception, match="answered 503") as refused:
        ticks.tick()

    error = refused.value
    while error is not None:
        assert "secret-path" not in str(error)
        error = error.__cause__ or error.__context__
    assert ticks.cursor == cursor
    alert_endpoint.status = 200
    ticks.tick()
    ticks.tick()
    assert len(alert_endpoint.messages) == 1


def test_an_endpoint_that_cannot_be_reached_is_not_named() -> None:
    from pipelines.orchestration.alerts import post

    for url in ("http://127.0.0.1:9/secret-path", "no-url/secret-path", "http://[/secret-path"):
        with pytest.raises(AlertNotDeliveredError) as refused:
            post(SecretStr(url), ["hello"])
        assert "secret-path" not in str(refused.value)
        assert refused.value.__suppress_context__


def _let_one_stand_still(simulator: RunningSimulator, hours: int) -> None:
    """A session uploads a file and then does nothing for hours. Its token says who it is."""
    token = jwt.encode({"user_id": "jane", "org": {"name": CUSTOMER}}, "0" * 32, algorithm="HS256")
    embed: dict[str, Json] = {"id": STUCK, "template_key": "planted", "status": "initialized", "user_jwt": token}
    event: dict[str, Json] = {
        "id": STUCK + hours,
        "uuid": str(uuid4()),
        "embed_id": STUCK,
        "event_type": "file_uploaded",
        "trigger_type": "user",
        "created_at": time.time() - hours * 3600,
        "has_snapshot": False,
        "data": {},
    }
    simulator.simulation.plant(STUCK, embed=embed, events=[event])


@pytest.mark.slow
def test_a_sweep_that_failed_is_told_once_though_its_run_published(
    settings: Settings, home: Home, ticks: Ticks, alert_endpoint: AlertEndpoint, simulator: RunningSimulator
) -> None:
    simulator.throw(refused_after_requests=9)
    for _ in range(2):
        with pytest.raises(RunFailedError):
            run_job(settings, "refresh", run_config("refresh"), TODAY)
        ticks.tick()

    assert home.warehouse.exists()
    (message,) = [message for message in alert_endpoint.messages if "*Run failed*" in message]
    assert "refused the key" in message
    assert "set the ONESCHEMA_API_KEY" in message
