"""Time-stamps of RFC 3161: an authority outside signs that a head existed at a time. By `rfc3161-client` alone.

The request holds the SHA-256 of the head's 32 bytes and nothing else of the home. Importing this module raises
ConfigurationError where the extra `evidence` is missing.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import httpx

from pipelines.chain.links import Head, Link
from pipelines.errors import ConfigurationError, PermanentError, TransientError
from pipelines.oneschema.proxies import proxy_for

try:
    from cryptography.x509 import Certificate, load_pem_x509_certificates
    from rfc3161_client import (
        HashAlgorithm,
        PKIStatus,
        TimestampRequestBuilder,
        VerificationError,
        VerifierBuilder,
        decode_timestamp_response,
    )
except ModuleNotFoundError:
    raise ConfigurationError(
        "Time-stamps need the extra `evidence`, which is not installed: pip install 'embed-analytics[evidence]'."
    ) from None

_TIMEOUT_SECONDS = 20.0
# A token with its certificates has some 5 kB.
_LARGEST_ANSWER = 1024 * 1024


class TimestampRefusedError(PermanentError):
    """The authority gave no time-stamp, or one that is not for this head."""


class AuthorityUnreachableError(TransientError):
    """The authority did not answer, or not now."""


def fetch_timestamp(head: Head, url: str) -> bytes:
    """The authority's answer (DER) for a head; it is for this head and this request, and nothing else is checked.

    Raises ConfigurationError for an address that is not one, TimestampRefusedError, AuthorityUnreachableError. Messages
    show the address's host alone.
    """
    address = _address(url)
    request = TimestampRequestBuilder().data(head.digest_bytes).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False, proxy=proxy_for(address)) as client:
            answer = client.post(
                address, content=request.as_bytes(), headers={"content-type": "application/timestamp-query"}
            )
    except httpx.HTTPError as error:
        raise AuthorityUnreachableError(f"{address.host} did not answer ({type(error).__name__}).") from None
    if answer.status_code >= 500 or answer.status_code == 429:
        raise AuthorityUnreachableError(f"{address.host} answered {answer.status_code}: try again later.")
    if answer.status_code != 200 or len(answer.content) > _LARGEST_ANSWER:
        raise TimestampRefusedError(f"{address.host} answered {answer.status_code}: is it the address of an authority?")
    try:
        response = decode_timestamp_response(answer.content)
        is_granted = response.status == PKIStatus.GRANTED
        is_ours = is_granted and (
            response.tst_info.nonce == request.nonce
            and response.tst_info.message_imprint.message == request.message_imprint.message
        )
    except ValueError:
        raise TimestampRefusedError(f"{address.host} did not answer with a time-stamp of RFC 3161.") from None
    if not is_ours:
        why = "gave a time-stamp for something else" if is_granted else "refused to give a time-stamp"
        raise TimestampRefusedError(f"{address.host} {why}.")
    return answer.content


def timestamp_facts(answer: bytes) -> dict[str, str]:
    """The facts of a link of kind `timestamp`."""
    return {"token": base64.b64encode(answer).decode()}


def read_roots(path: Path) -> list[Certificate]:
    """The certificates (PEM) of the authorities that are trusted. Raises ConfigurationError."""
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise ConfigurationError(f"{path} holds no certificates in PEM.") from None


def stamped_at(link: Link, roots: Sequence[Certificate]) -> datetime:
    """The time (UTC) at which a trusted authority has seen the head before a link of kind `timestamp`.

    Raises TimestampRefusedError where its token is not one, is of nobody in `roots`, or is for another head.
    """
    try:
        response = decode_timestamp_response(base64.b64decode(link.facts["token"], validate=True))
        builder = VerifierBuilder()
        for root in roots:
            builder = builder.add_root_certificate(root)
        builder.build().verify_message(response, bytes.fromhex(link.previous))
    except (ValueError, KeyError, TypeError, VerificationError) as error:
        raise TimestampRefusedError(f"the time-stamp of link {link.number} does not hold ({error})") from None
    return response.tst_info.gen_time


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError(
            "The address of a time-stamp authority begins with http:// or https:// and has a host."
        )
    return address
