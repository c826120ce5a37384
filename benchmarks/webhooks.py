"""(7) How many webhook events a receiver stores in a second, beside the same server answering 200 without storing.

Both are `embed-analytics serve-webhooks` and give the same answers: authentication, limits and the look for a uuid are
the same. The second leaves out credentials, claims and the journal. wrk pushes the events of a simulated account, each
with a uuid of its own. What the storing runs left is then landed as a refresh does it: every event that was answered
200 must be there.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.contest import ROOT, Answer, Contest, Contestant, Run, Verdict, Work, at_least

STORING, ANSWERING = "stores (fsync), then 200", "answers 200, stores nothing"
SECRET = "benchmark"

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
  io.write(string.format('{"count": %d, "pushed_seconds": %f, "refused": %d, "broken": %d, "p50": %f, "p99": %f}\\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def pushed(*, scratch: Path, bodies: str, is_storing: bool, seconds: float, connections: int) -> Work:
    (scratch / "push.lua").write_text(WRK_SCRIPT, encoding="utf-8")
    home = scratch / "home"
    command = [sys.executable, "-m", "benchmarks.webhooks", "storing" if is_storing else "answering", str(home)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().split()[-1]
    authorization = "Basic " + base64.b64encode(f":{SECRET}".encode()).decode()
    uuid_part = f"{os.urandom(4).hex()}-{os.urandom(2).hex()}"
    load = ["-t1", f"-c{connections}", f"-d{seconds:g}s"]
    wrk = ["wrk", *load, "-s", str(scratch / "push.lua"), url, "--", bodies, uuid_part, authorization]

    def work() -> Mapping[str, float]:
        try:
            printed = subprocess.run(wrk, check=True, capture_output=True, text=True).stdout
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=30)
        told = json.loads(printed.splitlines()[-1])
        if is_storing:
            told["landed"] = _landed_count(home)
        return told

    return work


def _landed_count(home: Path) -> int:
    """Events in raw, each counted once, after a refresh's way of landing."""
    import polars as pl

    from pipelines.home.layout import Home
    from pipelines.oneschema.tokens import TokenReader
    from pipelines.poll.opening import open_state
    from pipelines.webhooks.ingest import ingest_journal

    with open_state(Home(home)) as state:
        ingest_journal(Home(home), state.connection, TokenReader({}, {}, None), None, state.embed_token_fingerprint)
    files = list(home.glob("raw/embed_events/*/*.parquet"))
    return pl.scan_parquet(files).select(pl.col("event_uuid").n_unique()).collect().item()


def _serve(kind: str, home: str) -> None:
    from pydantic import SecretStr

    from pipelines.oneschema.json_text import loads
    from pipelines.settings import Settings
    from pipelines.webhooks import receiver
    from pipelines.webhooks.server import ServeOptions, serve

    class Forgetful(receiver.Events):
        """Gives the same answers, and forgets the event."""

        async def _store(self, body: bytes, encoding: bytes | None) -> receiver.Answer:
            uuid = receiver._uuid(loads(body))  # pyright: ignore[reportPrivateUsage]
            return receiver.UNREADABLE if uuid is None else receiver.STORED

    if kind == "answering":
        receiver.Events = Forgetful
    settings = Settings.defaults(embed_analytics_home=Path(home), embed_analytics_webhook_secrets=(SecretStr(SECRET),))
    serve(ServeOptions(settings, port=0))


def _make_bodies(folder: Path) -> None:
    from pipelines.simulator.options import SimulatorOptions
    from pipelines.simulator.simulation import Simulation

    embeds = 1_000
    simulation = Simulation(SimulatorOptions(embeds=embeds))
    lines: list[bytes] = []
    for index in range(embeds):
        for event in simulation.world.events(index):
            before, uuid, behind = simulation.full_json(event).partition(event.uuid.encode())
            assert uuid
            lines += [before, behind]
    (folder / "bodies").write_bytes(b"\n".join(lines) + b"\n")


def answer(*, seconds: float = 4, connections: int = 64, rounds: int = 5) -> Answer:
    from benchmarks import data

    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is missing: `make bench` installs it (apt-get install wrk)")
    arguments = {
        "bodies": data.kept("webhooks", _make_bodies) / "bodies",
        "seconds": seconds,
        "connections": connections,
    }
    contest = Contest(
        [
            Contestant(STORING, "benchmarks.webhooks:pushed", {**arguments, "is_storing": True}),
            Contestant(ANSWERING, "benchmarks.webhooks:pushed", {**arguments, "is_storing": False}),
        ],
        rounds,
    )

    def rate(run: Run) -> float:
        return run.told["count"] / run.told["pushed_seconds"]

    stored = [run.told["count"] - run.told["refused"] for run in contest.runs[STORING]]
    landed = [run.told["landed"] for run in contest.runs[STORING]]
    # wrk stops without waiting for the last answers: that many more may have been stored.
    is_whole = all(a <= b <= a + connections for a, b in zip(stored, landed, strict=True))
    share = contest.ratio(STORING, ANSWERING, rate).scaled(100)
    rows = [["", "events per s", "p50 ms", "p99 ms", "refused", "broken"]]
    for name, runs in contest.runs.items():
        p50, p99 = (contest.median(name, lambda run, key=key: run.told[key]) for key in ("p50", "p99"))
        refused, broken = (sum(run.told[key] for run in runs) for key in ("refused", "broken"))
        rows.append(
            [name, f"{float(contest.median(name, rate)):,.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{refused}", f"{broken}"]
        )
    return Answer(
        [rows],
        [
            at_least("webhooks, share of the rate without storing", share, 60, " %"),
            Verdict(
                "webhooks, events answered 200 and lost",
                f"{sum(max(a - b, 0) for a, b in zip(stored, landed, strict=True)):.0f} of {sum(stored):,.0f}",
                "0",
                is_whole,
            ),
        ],
        [f"wrk with {connections} connections, on the same two cores"],
    )


SMALL = {"seconds": 1, "connections": 4, "rounds": 1}

if __name__ == "__main__":
    _serve(*sys.argv[1:])
