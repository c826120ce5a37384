"""Every setting, once: its environment variable, default and meaning. The README's table is made from them.

Settings come from the environment and from a `.env` in the working directory. An empty value counts as missing. Loading
does not fail for a setting that only some runs need: `require_api_key` is called before a request is made.
"""

import os
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict, SettingsError

from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home

API_URLS = {
    "us": "https://api.oneschema.co",
    "eu": "https://api.eu.oneschema.co",
    "ca": "https://api.ca.oneschema.co",
    "au": "https://api.au.oneschema.co",
}


class _ForModels:
    """Marks a setting that the models in sql/ may read as a column of source.parameters.

    `pipelines/warehouse/parameters.py` says how the column is named.
    """


FOR_MODELS = _ForModels()


class _NamesClaims:
    """Marks a setting that names claim paths, its value or its keys: a check warns of one that fits no claim."""


NAMES_CLAIMS = _NamesClaims()


def _one_or_many(value: object) -> object:
    """The elements of a JSON array. Any other text is the only element."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [value]
    try:
        return orjson.loads(value)
    except ValueError:
        raise ValueError("begins with [ and is not a JSON array") from None


# Less than this does not hold the smallest build.
_LEAST_MEMORY = 100_000_000


def _size_in_words(value: object) -> object:
    """Pydantic's own message for another text does not say how a size is written."""
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", value.strip(), re.IGNORECASE):
        raise ValueError("is not a size; write it like 2GB or 512MB")
    return value


def _enough_memory(value: ByteSize | None) -> ByteSize | None:
    if value is not None and value < _LEAST_MEMORY:
        raise ValueError("is too small; a build needs 100MB or more")
    return value


# An e-mail address without quotes (RFC 5322, dot-atom): it has nothing that ends a header or a command.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"{_ATOM}(\.{_ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def _address(text: str) -> str:
    if len(text) > 254 or not _ADDRESS.fullmatch(text):
        raise ValueError('is not an e-mail address; several are written as JSON: ["a@example.com", "b@example.com"]')
    return text


MailAddress = Annotated[str, AfterValidator(_address)]

# A century. A longer duration is a typing mistake, and a much longer one overflows a date.
_DAYS = 36_525
_HOURS = 24 * _DAYS


class Settings(BaseSettings):
    """The settings of a run. Secrets are SecretStr, so no repr or log line shows them."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True
    )

    oneschema_api_key: SecretStr | None = Field(None, description="API key, from the Developer Dashboard. **Required**")
    oneschema_region: Literal["us", "eu", "ca", "au"] = Field("us", description="Region of the account")
    oneschema_api_url: str | None = Field(None, description="Base URL of the API; wins over the region")
    oneschema_allow_plain_http: bool = Field(
        False, description="Allow an http:// URL of another machine, which sends the API key in the clear"
    )
    oneschema_environment: str | None = Field(
        None, description="Environment name of the key's embeds (`Production`), for events that do not name their own"
    )
    oneschema_retention_days: Annotated[int | None, FOR_MODELS] = Field(
        None,
        gt=0,
        le=_DAYS,
        description="The organisation's retention period; a check warns before it could delete unfetched events",
    )
    oneschema_client_secrets: dict[str, SecretStr] = Field(
        {}, description='Client secrets by client id (`iss`), as JSON: `{"<client id>": "<secret>"}`; JWTs are checked'
    )
    embed_analytics_home: Path = Field(Path("data"), description="Where raw, lake, state and warehouse are kept")
    embed_analytics_group: str | None = Field(
        None, description="Group of users who may read the lake and `warehouse.duckdb`; only the owner by default"
    )
    embed_analytics_start_date: date | None = Field(
        None, description="First event date that is a partition in Dagster; the earliest in the home by default"
    )
    embed_analytics_owner: str = Field(
        "team:embed-analytics",
        pattern=r"^(team:.+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$",
        description="Who answers for the assets in Dagster: `team:<name>` or an e-mail address",
    )
    embed_analytics_concurrency: int = Field(16, ge=1, le=256, description="Workers that fetch at the same time")
    embed_analytics_requests_per_second: float | None = Field(
        None, gt=0, description="Most requests per second; no limit by default"
    )
    embed_analytics_request_timeout_seconds: float = Field(20, gt=0, description="Time-out of one request")
    embed_analytics_retry_budget_seconds: float = Field(
        120, gt=0, description="How long one request is retried before its embed counts as failed"
    )
    embed_analytics_idle_after_hours: Annotated[float, FOR_MODELS] = Field(
        24,
        gt=0,
        le=_HOURS,
        description="A session idle for longer is no longer open, and is polled at growing intervals",
    )
    embed_analytics_settle_after_days: float = Field(
        90, gt=0, le=_DAYS, description="A session idle for longer is asked again only by reconcile or a backfill"
    )
    embed_analytics_funnel_window_days: Annotated[float, FOR_MODELS] = Field(
        7, gt=0, le=_DAYS, description="Time a session has to convert; younger cohorts are not mature"
    )
    embed_analytics_claim_column_limit: int = Field(64, ge=1, description="How many claims become columns")
    embed_analytics_claim_types: Annotated[dict[str, str], NAMES_CLAIMS] = Field(
        {}, description='DuckDB types of claim paths, as JSON: `{"org.seats": "BIGINT"}`; VARCHAR by default'
    )
    embed_analytics_column_key_limit: int = Field(
        2_000,
        ge=1,
        description="How many pairs of column key and error code an event may report; one with more has no counts, "
        "and a check says so",
    )
    embed_analytics_claim_policy: dict[str, Literal["keep", "encrypt", "hash", "drop"]] = Field(
        {},
        description="What is stored of claims, by path with wildcards, as JSON: "
        '`{"email": "encrypt", "id": "hash", "x.*": "drop"}`; `encrypt` needs the extra `evidence`',
    )
    embed_analytics_claim_hash_key: SecretStr | None = Field(None, description="Key of the claim policy's `hash`")
    embed_analytics_refresh_cron: str = Field(
        "7 * * * *",
        description="When `make dev` refreshes (cron, UTC); data older than two refreshes and an hour is late",
    )
    embed_analytics_reconcile_cron: str = Field("23 3 * * 0", description="When `make dev` reconciles (cron, UTC)")
    embed_analytics_acknowledged: dict[str, tuple[str, ...]] = Field(
        {},
        description='What a warning need not say again, by check, as JSON: `{"event_types_known": ["sheet_*"]}`; the '
        "values are those that the warning names, and `*` stands for any text",
    )
    embed_analytics_prune_cron: str = Field("41 4 1 * *", description="When `make dev` prunes run history (cron, UTC)")
    embed_analytics_keep_runs_days: int = Field(
        90, ge=1, description="Older Dagster runs are pruned, unless an asset's present state comes from them"
    )
    embed_analytics_alert_webhook_url: SecretStr | None = Field(
        None, description="Slack-compatible webhook for alerts about failed runs, failed checks and stuck sessions"
    )
    embed_analytics_customer_claim: Annotated[str | None, FOR_MODELS, NAMES_CLAIMS] = Field(
        None,
        description="Path of the claim with the customer's name (`org.name`), for `customer_name` and alerts; none by "
        "default",
    )
    embed_analytics_customer_id_claim: Annotated[str | None, FOR_MODELS, NAMES_CLAIMS] = Field(
        None, description="Path of the claim with the customer's id (`org.id`), for `customer_id`; the name by default"
    )
    embed_analytics_plan_claim: Annotated[str | None, FOR_MODELS, NAMES_CLAIMS] = Field(
        None, description="Path of the claim with the customer's plan (`org.plan`), for `plan`; none by default"
    )
    embed_analytics_dagster_url: str = Field(
        "http://127.0.0.1:3000", description="Address of the Dagster UI, for links in alerts; `make dev` sets it"
    )
    embed_analytics_dagster_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL for Dagster's run history (`postgresql://user:password@host/database`); SQLite in the "
        "home by default",
    )
    embed_analytics_digest_webhook_url: SecretStr | None = Field(
        None, description="Slack-compatible webhook for the digest, which may be that of the alerts; off by default"
    )
    embed_analytics_smtp_url: SecretStr | None = Field(
        None,
        description="Server for the digest as e-mail: `smtp://user:password@host:587` (STARTTLS) or "
        "`smtps://user:password@host:465`",
    )
    embed_analytics_digest_to: Annotated[tuple[MailAddress, ...], NoDecode, BeforeValidator(_one_or_many)] = Field(
        (), description='Who gets the digest as e-mail: one address, or several as JSON: `["a@x.com", "b@x.com"]`'
    )
    embed_analytics_digest_from: MailAddress | None = Field(None, description="The address that the digest comes from")
    embed_analytics_digest_cron: str = Field(
        "0 8 * * 1",
        description="When `make dev` sends the digest (cron, UTC); from one tick to the next, it is sent once",
    )
    embed_analytics_report_url: str | None = Field(
        None,
        pattern=r"^https?://[!-~]+$",
        description="Address where you keep a copy of `report.html`, for links in the digest and in Dagster",
    )
    embed_analytics_keep_warehouses: int = Field(3, ge=0, description="How many earlier published files are kept")
    embed_analytics_keep_warehouses_days: int | None = Field(
        None,
        ge=1,
        le=_DAYS,
        description="Earlier published files and failed builds that are older go; by number alone by default",
    )
    embed_analytics_keep_quarantine_days: int | None = Field(
        None, ge=1, le=_DAYS, description="Quarantined rows that landed earlier go, and are counted; never by default"
    )
    embed_analytics_keep_unreadable_days: int | None = Field(
        None,
        ge=1,
        le=_DAYS,
        description="Files of `raw/unreadable` whose bodies came earlier go, and the chain says so; never by default",
    )
    embed_analytics_memory_limit: Annotated[
        ByteSize | None, BeforeValidator(_size_in_words), AfterValidator(_enough_memory)
    ] = Field(
        None,
        description="Memory of a build of the warehouse (`2GB`), which spills to the home beyond it; by default 1.8 GB "
        "or a quarter of the machine's memory, whichever is less",
    )
    embed_analytics_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_one_or_many)] = Field(
        (),
        description='Secret keys that a webhook may carry: one, or several as JSON during a change: `["new", "old"]`',
    )
    embed_analytics_webhook_refresh_seconds: int | None = Field(
        None, gt=0, description="`make dev` refreshes this soon after webhook events arrived; off by default"
    )

    embed_analytics_signing_key_file: Path | None = Field(
        None, description="File with the Ed25519 key (PEM) that signs the chain of raw; unsigned by default"
    )

    @classmethod
    def defaults(cls, **changes: Any) -> Self:
        """Every setting at its default except these. The environment and `.env` are not read.

        Raises ValidationError for a value that a setting cannot have, TypeError for a name that is not a setting.
        """
        if unknown := changes.keys() - cls.model_fields.keys():
            raise TypeError(f"{', '.join(sorted(unknown))}: not a setting.")
        settings = cls.__new__(cls)
        # BaseSettings.__init__ would read the environment, and fail on bad values there even for settings given here.
        BaseModel.__init__(settings, **changes)
        return settings

    @property
    def home(self) -> Home:
        key = self.embed_analytics_signing_key_file
        return Home(self.embed_analytics_home.absolute(), self.embed_analytics_group, key.absolute() if key else None)

    @property
    def api_url(self) -> str:
        return (self.oneschema_api_url or API_URLS[self.oneschema_region]).rstrip("/")

    @property
    def idle_after(self) -> timedelta:
        return timedelta(hours=self.embed_analytics_idle_after_hours)

    @property
    def settle_after(self) -> timedelta:
        return timedelta(days=self.embed_analytics_settle_after_days)

    @property
    def sends_digest(self) -> bool:
        """Whether any of the settings is there by which a digest is sent."""
        return bool(
            self.embed_analytics_digest_webhook_url
            or self.embed_analytics_smtp_url
            or self.embed_analytics_digest_to
            or self.embed_analytics_digest_from
        )

    def require_api_key(self) -> SecretStr:
        """The API key. Raises ConfigurationError, which names the setting, if it is missing or cannot be sent."""
        key = self.oneschema_api_key.get_secret_value().strip() if self.oneschema_api_key else ""
        if not key:
            raise ConfigurationError(
                "ONESCHEMA_API_KEY is missing or empty: set it in the environment or in .env "
                "(OneSchema Developer Dashboard, API keys)."
            )
        # In a header, other characters fail deep in the client, with an error that quotes the key.
        if not all("!" <= character <= "~" for character in key):
            raise ConfigurationError("ONESCHEMA_API_KEY has characters that no key can have: copy it again.")
        return SecretStr(key)


def load_settings() -> Settings:
    """Settings from the environment and `.env`. Raises ConfigurationError that names each setting with a bad value."""
    dotenv = Path(".env")
    try:
        if dotenv.is_dir():
            raise ConfigurationError(f"{dotenv.absolute()} is a folder: settings are read from a file of that name.")
        return Settings()  # pyright: ignore[reportCallIssue]
    except UnicodeDecodeError:
        raise ConfigurationError(f"{dotenv.absolute()} is not UTF-8: save it as UTF-8.") from None
    except OSError as error:
        raise ConfigurationError(
            f"{dotenv.absolute()} cannot be read: {error.strerror}. Let this user read it, or run in another folder."
        ) from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"A setting cannot be used: {problems}") from None
    except SettingsError as error:
        # The error's text names only the field; its cause would show the value.
        name = next(name for name in Settings.model_fields if f'"{name}"' in str(error)).upper()
        raise ConfigurationError(
            f"A setting cannot be used: {name} is not JSON; write it as the README shows."
        ) from None


def default_of(setting: str) -> Any:
    """The default of a setting, as declared above."""
    return Settings.model_fields[setting].get_default()


def dotenv_variables() -> dict[str, str]:
    """The settings that come from `.env` because the environment does not have them, as environment variables."""
    held = DotEnvSettingsSource(Settings).env_vars
    return {
        variable: value
        for name in Settings.model_fields
        if (value := held.get(name)) and not os.environ.get(variable := name.upper())
    }


def settings_table() -> str:
    """The README's table of settings (markdown): variable, default, meaning."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "" if default in (None, {}, ()) else f"`{default}`"
        rows.append(f"| `{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)
