"""How the tests ask the simulated API, and read what it says, without the simulator's own code."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx

from pipelines.simulator.server import RunningSimulator

FIXTURES = Path(__file__).parent / "fixtures"


def sample(name: str) -> Any:
    """One of the vendor's samples."""
    return json.loads((FIXTURES / f"{name}.json").read_bytes())


def client_of(simulator: RunningSimulator, **settings: Any) -> httpx.Client:
    settings = {"timeout": 10, **settings}
    return httpx.Client(base_url=simulator.url, headers={"X-API-KEY": simulator.api_key}, trust_env=False, **settings)


def payload_of(token: str) -> Any:
    """The decoded payload of a JWT, read without the simulator's code."""
    segment = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
