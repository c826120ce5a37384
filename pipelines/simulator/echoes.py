"""A vendor that repeats what it was sent: credentials in `data`, beside it and in error bodies, in every spelling."""

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

from pipelines.simulator.json_values import Json


def echoes(event: dict[str, Json], api_key: str, embed_token: str, jwt: str | None) -> dict[str, object]:
    """`data` and further fields of an event that repeats the key, its embed's token and its JWT."""
    data = event.get("data")
    secrets = {"key": api_key, "session": embed_token, **({"jwt": jwt} if jwt else {})}
    debug = {
        "request_headers": {"X-API-KEY": api_key, "Authorization": f"Basic {_base64(f':{api_key}')}"},
        "resume_url": f"https://app.simulator.invalid/embed?page=1&embed_token={embed_token}&theme=dark",
        "link": f"https://app.simulator.invalid/{embed_token}",
        "plain": secrets,
        "text": [f"before {secret} behind" for secret in secrets.values()],
        "quoted": {name: quote(f"{name}={secret}&", safe="") for name, secret in secrets.items()},
        "wholly_quoted": {name: "".join(f"%{ord(c):02x}" for c in secret) for name, secret in secrets.items()},
        "quoted_twice": {name: quote(quote(f"{name}={secret}&", safe="")) for name, secret in secrets.items()},
        "escaped": {name: "".join(f"\\u{ord(c):04x}" for c in secret) for name, secret in secrets.items()},
        "base64": {name: _base64(secret) for name, secret in secrets.items()},
        # Within a longer text, in each of the three places that it can have among base64's groups of three.
        "in_base64": [_base64(f"{'?' * before}{secret}>>") for secret in secrets.values() for before in (3, 4, 5)],
        "in_base64url": [
            urlsafe_b64encode(f"{'ÿ' * before}{secret}".encode()).decode().rstrip("=")
            for secret in secrets.values()
            for before in (1, 2, 3)
        ],
    }
    template = {"validation_hooks": [{"url": "https://hook.simulator.invalid", "secret": f"hook-{embed_token[:8]}"}]}
    return {"data": {**(data if isinstance(data, dict) else {}), "debug": debug}, "debug": debug, "template": template}


def error_echo(api_key: str) -> dict[str, Json]:
    """`data` of an error that repeats the request's headers."""
    return {"request_headers": {"X-API-KEY": api_key}, "url": f"/v1/embeds?key={quote(api_key)}"}


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
