"""A simulated account in a process of its own, so that serving it costs no contestant's time or memory."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.contest import ROOT


@dataclass(frozen=True)
class Account:
    """Where the simulator listens, and its admin's endpoints."""

    url: str
    api_key: str
    admin: httpx.Client

    def make_everything(self) -> None:
        """Have the simulator make now what it would otherwise make when first asked."""
        with self.admin.stream("GET", "truth") as truth:
            for _ in truth.iter_raw():
                pass

    def embed_ids(self) -> list[int]:
        """The ids of all embeds."""
        lines = self.admin.get("truth/embeds").raise_for_status().iter_lines()
        return [json.loads(line)["embed_id"] for line in lines]

    def advance(self, seconds: float) -> None:
        """Move its clock."""
        self.admin.post("clock", json={"advance_seconds": seconds}).raise_for_status()


@contextmanager
def simulator(**options: Any) -> Generator[Account]:
    """A simulator with these SimulatorOptions, while the context lasts. Its clock stands still."""
    command = [sys.executable, "-m", "benchmarks.server", json.dumps(options)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, api_key, admin = (process.stdout.readline().rpartition(" ")[2].strip() for _ in range(3))
            with httpx.Client(base_url=admin, timeout=600, trust_env=False) as client:
                yield Account(url, api_key, client)
        finally:
            process.terminate()


def _serve(options: str) -> None:
    from pipelines.simulator.options import SimulatorOptions
    from pipelines.simulator.server import serve

    serve(SimulatorOptions.model_validate(json.loads(options)))


if __name__ == "__main__":
    _serve(sys.argv[1])
