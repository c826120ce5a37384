"""Posts messages to a Slack-compatible webhook. Its URL is a credential."""

import logging
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import SecretStr

from pipelines.messages.delivery import DeliveryUnknownError, NotTakenError, RefusedError
from pipelines.oneschema.pace import retry_after_seconds

TIMEOUT_SECONDS = 10.0

# httpx logs each request with its URL.
logging.getLogger("httpx").setLevel(logging.WARNING)


def post(url: SecretStr, message: Mapping[str, Any], setting: str) -> None:
    """Post one message, a JSON object. `setting` names the URL in errors, since they do not show it.

    Raises NotTakenError (no connection, 408, 429, 5xx), RefusedError (any other status, or not a URL), or
    DeliveryUnknownError (the connection broke once it had been made).
    """
    try:
        answer = httpx.post(url.get_secret_value(), json=message, timeout=TIMEOUT_SECONDS)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise NotTakenError(f"{setting} cannot be reached ({type(error).__name__})") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise RefusedError(f"{setting} cannot be reached ({type(error).__name__})") from None
    except httpx.HTTPError as error:
        raise DeliveryUnknownError(
            f"{setting} broke off ({type(error).__name__}), and may have taken the message"
        ) from None
    if answer.is_success:
        return
    told = f"{setting} answered {answer.status_code}"
    if answer.status_code in (408, 429) or answer.status_code >= 500:
        raise NotTakenError(told, retry_after_seconds(answer.headers.get("Retry-After")))
    raise RefusedError(told)
