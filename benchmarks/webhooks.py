"""How many webhook events a receiver stores in a second, beside the same server answering 200 without storing.

Usage: python benchmarks/webhooks.py [--rounds 5] [--seconds 4] [--connections 64]

Both are `embed-analytics serve-webhooks` and give the same answers: authentication, limits and the look for a uuid are
the same. The second leaves out credentials, claims and the journal. They take turns, so that what else the machine does
falls on both; the medians count. wrk pushes the events of a simulated account, each with a uuid of its own. Afterwards
what the storing runs left is landed as a refresh does it, and every event that was answered 200 must be there. Fails
below 60 % of the other's rate, and on any loss.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import SecretStr

from pipelines.home import Home
from pipelines.oneschema.tokens import TokenReader
from pipelines.poll.state import open_state
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.simulation import Simulation
from pipelines.webhooks import app
from pipelines.webhooks.ingest import ingest_journal
from pipelines.webhooks.server import ServeOptions, serve

SECRET = "benchmark"
LEAST_SHARE = 0.6
EMBEDS = 1000

# Bodies lie in the file as lines: what stands before the uuid, and what stands behind it.
WRK_SCRIPT = """
local bodies, count, number = {}, 0, 0
function init(arguments)
  for line in io.lines(arguments[1]) do
    count = count + 1
    bodies[count] = line
  end
  run = arguments[2]
  wrk.headers["Authorization"] = arguments[3]
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["User-Agent"] = "OneSchema/1.0"
end
function request()
  number = number + 1
  local at = 2 * (number % (count / 2))
  local uuid = string.format("event-%s-4000-8000-%012x", run, number)
  return wrk.format("POST", "/events", nil, bodies[at + 1] .. uuid .. bodies[at + 2])
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"answered": %d, "seconds": %f, "refused": %d, "broken": %d, "p50": %f, "p99": %f}\\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Run:
    """One run of wrk. Latencies are in milliseconds."""

    answered: int
    seconds: float
    refused: int
    broken: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.answered / self.seconds


class Forgetful(app.Events):
    """Gives the same answers, and forgets the event."""

    async def _store(self, body: bytes) -> app.Answer:
        return app.MALFORMED if app._event(body) is None else app.STORED


def serve_until_stopped(home: Path, *, is_storing: bool) -> None:
    if not is_storing:
        app.Events = Forgetful
    settings = Settings(_env_file=None, embed_analytics_home=home, embed_analytics_webhook_secrets=(SecretStr(SECRET),))
    serve(ServeOptions(settings, port=0))


def run_once(folder: Path, home: Path, name: str, arguments: argparse.Namespace) -> Run:
    """Start a server of its own, push for a while, and stop it."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", name, "--home", str(home)], stdout=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().split()[-1]
        authorization = "Basic " + base64.b64encode(f":{SECRET}".encode()).decode()
        uuid_part = f"{os.urandom(4).hex()}-{os.urandom(2).hex()}"
        load = ["-t1", f"-c{arguments.connections}", f"-d{arguments.seconds}s"]
        output = subprocess.run(
            ["wrk", *load, "-s", folder / "push.lua", url, "--", folder / "bodies", uuid_part, authorization],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    return Run(**json.loads(output.splitlines()[-1]))


def write_bodies(path: Path) -> None:
    simulation = Simulation(SimulatorOptions(embeds=EMBEDS))
    lines: list[bytes] = []
    for index in range(EMBEDS):
        for event in simulation.world.events(index):
            before, uuid, behind = simulation.full_json(event).partition(event.uuid.encode())
            assert uuid
            lines += [before, behind]
    path.write_bytes(b"\n".join(lines) + b"\n")


def landed_count(home: Path) -> int:
    """Events in raw, each counted once, after a refresh's way of landing."""
    with open_state(Home(home)) as state:
        ingest_journal(Home(home), state.connection, TokenReader({}, {}, None), None)
    files = list(home.glob("raw/embed_events/*/*.parquet"))
    return pl.scan_parquet(files).select(pl.col("event_uuid").n_unique()).collect().item()


def measure(arguments: argparse.Namespace) -> None:
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "push.lua").write_text(WRK_SCRIPT, encoding="utf-8")
        write_bodies(folder / "bodies")
        runs: dict[str, list[Run]] = {"answering": [], "storing": []}
        for round_number in range(arguments.rounds):
            for kind, done in runs.items():
                done.append(run_once(folder, folder / f"home-{kind}", kind, arguments))
                run = done[-1]
                print(f"round {round_number + 1}, {kind}: {run.rate:,.0f}/s, p99 {run.p99:.1f} ms", flush=True)
        landed = landed_count(folder / "home-storing")
    report(runs, landed, arguments)


def report(runs: dict[str, list[Run]], landed: int, arguments: argparse.Namespace) -> None:
    print(f"\n{os.cpu_count()} cores, wrk with {arguments.connections} connections, medians of {arguments.rounds} runs")
    print(f"{'server':<28}{'events/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'refused':>9}{'broken':>8}")
    names = {"answering": "answers 200, stores nothing", "storing": "stores (fsync), then 200"}
    rates: dict[str, float] = {}
    for kind, done in runs.items():
        rates[kind] = statistics.median(run.rate for run in done)
        p50, p99 = (statistics.median(getattr(run, name) for run in done) for name in ("p50", "p99"))
        refused, broken = sum(run.refused for run in done), sum(run.broken for run in done)
        print(f"{names[kind]:<28}{rates[kind]:>10,.0f}{p50:>9.1f}{p99:>9.1f}{refused:>9}{broken:>8}")
    share = rates["storing"] / rates["answering"]
    stored = sum(run.answered - run.refused for run in runs["storing"])
    # wrk stops without waiting for the last answers: that many more may have been stored.
    under_way = arguments.connections * arguments.rounds
    print(f"storing keeps {share:.0%} of the rate (at least {LEAST_SHARE:.0%} wanted)")
    print(f"{stored:,} events answered 200, {landed:,} landed in raw: {max(stored - landed, 0):,} lost")
    if share < LEAST_SHARE or not stored <= landed <= stored + under_way:
        sys.exit("below the target, or events do not add up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="where the homes are made; its disk is what is measured")
    parser.add_argument("--serve", choices=["answering", "storing"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_until_stopped(arguments.home, is_storing=arguments.serve == "storing")
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
