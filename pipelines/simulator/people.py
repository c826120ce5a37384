"""The people of the world, their claims, and the JWTs that carry them.

A person belongs to a customer organisation, and organisations integrated in different ways. The older ones send user_id
as a number. Some send nested objects, arrays, odd keys, or number forms that a careless reader changes.
"""

import base64
import hashlib
import hmac
from random import Random
from typing import Literal

import orjson

# valid: signed with the client secret. invalid_signature: readable, signed with another secret. missing: the embed has
# no token. non_object: signed, but its payload is JSON of another kind. malformed: not a JWT at all.
TokenKind = Literal["valid", "invalid_signature", "malformed", "missing", "non_object"]
TOKEN_KINDS: tuple[tuple[TokenKind, float], ...] = (
    ("malformed", 0.012),
    ("missing", 0.012),
    ("non_object", 0.008),
    ("invalid_signature", 0.006),
)

_ORGANISATIONS = (
    ("Acme Logistics", "US", "Team"),
    ("Müller & Söhne GmbH", "DE", "Enterprise"),
    ("株式会社さくら", "JP", "Team"),
    ("Société Générale d'Épicerie", "FR", "Free trial"),
    ("Òrbita > Cargo ~ Ltda", "BR", "Enterprise"),
    ('O\'Neill "Quick" Supplies', "IE", "Team"),
    ("🚀 Launchpad", "US", "Free trial"),
    ("Zażółć Sp. z o.o.", "PL", "Team"),
)
_FIRST_ID = 1000
_GIVEN = (
    "Amara",
    "Björn",
    "Chloé",
    "Dmitri",
    "Elif",
    "Fátima",
    "Giulia",
    "Hiroshi",
    "Ines",
    "Jürgen",
    "Kwame",
    "Łucja",
)
_FAMILY = ("Okafor", "Sørensen", "Nguyễn", "García", "Smith", "Kowalski", "田中", "O'Brien", "Öztürk", "Müller")
_ROLES = ("admin", "importer", "billing", "viewer", "data steward")


def person_claims(seed: int, person: int) -> dict[str, object]:
    """The claims that every token of one person carries, without `iss`: a pure function of its arguments."""
    rng = Random(f"{seed}/person/{person}")
    number = _draw_organisation(rng, person)
    name, country, plan = _ORGANISATIONS[number % len(_ORGANISATIONS)]
    given, family = rng.choice(_GIVEN), rng.choice(_FAMILY)
    is_older_integration = number % 8 in (1, 5)
    user_id: str | int = 700_000 + person if is_older_integration else f"usr_{rng.getrandbits(40):010x}"
    claims: dict[str, object] = {
        "user_id": user_id,
        "name": f"{given} {family}",
        "email": f"user{person}@org{number}.example",
        "org": {"id": _FIRST_ID + number, "name": name, "Plan Name": plan, "address": {"country": country}},
        "is_admin": rng.random() < 0.2,
        "roles": rng.sample(_ROLES, rng.randint(0, 3)),
    }
    style = number % 6
    if style == 0:
        claims["analytics"] = {"amplitudeId": rng.getrandbits(53), "utm-source": rng.choice(("mail", "ads?q=>>", "~"))}
        claims["score"] = orjson.Fragment(rng.choice((b"1.0", b"0.5", b"12.250", b"-0.0")))
    elif style == 1:
        claims["quota"] = orjson.Fragment(rng.choice((b"1e5", b"2.5E+3", b"100000")))
        claims["seats"] = rng.choice((5, 50, 2**53 + 1, 2**63 - 1))
    elif style == 2:
        claims["features"] = [{"key": "ai", "enabled": True}, {"key": "sftp", "enabled": rng.random() < 0.5}]
        claims["Région"] = rng.choice(("Île-de-France", "Bretagne"))
        claims["referrer"] = None
    elif style == 3:
        # Two keys that fold to one column name.
        claims["traceId"] = f"{rng.getrandbits(64):016x}"
        claims["traceid"] = rng.getrandbits(31)
        claims["locale"] = f"{country.lower()}-{country}"
    elif style == 4:
        claims["experiment"] = {"variant A": rng.random() < 0.5, "cohort": rng.choice(("1", 1, True))}
        claims["limits"] = {"rows": {"max": 10_000, "soft": 9_500.5}, "files": []}
    return claims


def organisation_of(seed: int, person: int) -> int:
    """The number of a person's organisation, below 39."""
    return _draw_organisation(Random(f"{seed}/person/{person}"), person)


def customer_of(organisation: int) -> tuple[int, str]:
    """The id and the name that claims have for an organisation of this number."""
    return _FIRST_ID + organisation, _ORGANISATIONS[organisation % len(_ORGANISATIONS)][0]


def _draw_organisation(rng: Random, person: int) -> int:
    return person % 23 + len(_ORGANISATIONS) * rng.randrange(3)


def sign(payload: bytes, secret: bytes) -> str:
    """A JWT (HS256) of `payload`, which need not be a JSON object."""
    signed = _HEADER + b"." + _base64url(payload)
    return (signed + b"." + _base64url(hmac.digest(secret, signed, hashlib.sha256))).decode()


def malformed_token(variant: int, token: str) -> str:
    """A text in place of a JWT that is not one, made from a good one; `variant` picks one of five kinds."""
    header, payload, signature = token.split(".")
    return (
        f"{header}.{payload}",
        f"{header}.{payload[: len(payload) // 2]}!{payload[len(payload) // 2 :]}.{signature}",
        f"{header}.{_HALF_AN_OBJECT}.{signature}",
        "undefined",
        f"Bearer {signature}",
    )[variant % 5]


NON_OBJECT_PAYLOADS = (b"[]", b'["usr_1"]', b'"usr_00ff"', b"42", b"null", b"true")


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


_HEADER = _base64url(b'{"typ":"JWT","alg":"HS256"}')
_HALF_AN_OBJECT = _base64url(b'{"user_id": ').decode()
