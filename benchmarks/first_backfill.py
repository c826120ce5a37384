"""(2) A first backfill over HTTP from a server that takes its time, beside dlt's rest_api source.

Both ask the same simulator, with the same number of requests under way, for the list and for the events of each embed,
and write Parquet: ours lands raw, dlt loads its two tables. No client can be faster than concurrency / latency; wrk,
which reads events and does nothing with them, shows how much of that the server gives.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.contest import OTHERS_PYTHON, Answer, Contest, Contestant, Run, Work, at_least, installed, others

OURS, DLT, WRK = "ours", "dlt, rest_api source", "wrk, events alone"
CONCURRENCY = 16
LATENCY_SECONDS = 0.03
WRK_SECONDS = 5

# dlt fetches the children of one page one after another, and pages side by side: enough pages for all workers.
DLT_PAGE = 50


def ours(*, scratch: Path, url: str, api_key: str) -> Work:
    from pydantic import SecretStr

    # What a sweep imports when it comes to it; dlt is imported before its work as well.
    import pipelines.poll.sweep  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from pipelines import steps
    from pipelines.poll.report import SweepRequest
    from pipelines.settings import Settings

    settings = Settings.defaults(
        oneschema_api_url=url,
        oneschema_api_key=SecretStr(api_key),
        embed_analytics_home=scratch,
        embed_analytics_concurrency=CONCURRENCY,
    )

    def sweep() -> dict[str, float]:
        report = steps.sweep(settings, SweepRequest("backfill"), on_wait=print)
        assert report.is_complete, report.failures
        return {"count": report.fetched_count, "events": report.landed_event_count, "requests": report.request_count}

    return sweep


def dlt_rest_api(*, scratch: Path, url: str, api_key: str) -> Work:
    os.environ |= {"EXTRACT__WORKERS": str(CONCURRENCY), "EXTRACT__MAX_PARALLEL_ITEMS": str(CONCURRENCY)}

    dlt, rest_api = others("dlt"), others("dlt.sources.rest_api")
    config: Any = {
        "client": {
            "base_url": url,
            "auth": {"type": "api_key", "name": "X-API-KEY", "api_key": api_key, "location": "header"},
        },
        "resource_defaults": {"max_table_nesting": 0, "parallelized": True},
        "resources": [
            {
                "name": "embeds",
                "endpoint": {
                    "path": "v1/embeds",
                    "paginator": {
                        "type": "offset",
                        "limit": DLT_PAGE,
                        "limit_param": "count",
                        "total_path": None,
                        "stop_after_empty_page": True,
                    },
                },
            },
            {
                "name": "events",
                "endpoint": {"path": "v1/embeds/{resources.embeds.id}/events", "paginator": "single_page"},
            },
        ],
    }

    def load() -> dict[str, float]:
        destination = dlt.destinations.filesystem(bucket_url=str(scratch / "loaded"))
        pipeline = dlt.pipeline("backfill", destination=destination, dataset_name="raw", pipelines_dir=str(scratch))
        pipeline.run(rest_api.rest_api_source(config), loader_file_format="parquet")
        rows = pipeline.last_trace.last_normalize_info.row_counts
        return {"count": rows["embeds"], "events": rows["events"]}

    return load


# The embeds are taken in turn, from the list that Python asked for.
WRK_SCRIPT = """
wrk.headers["X-API-KEY"] = "{api_key}"
local ids, number = {{{ids}}}, 0
function request()
  number = number + 1
  return wrk.format("GET", "/v1/embeds/" .. ids[number % #ids + 1] .. "/events")
end
function done(summary)
  io.write(string.format('{{"count": %d, "events": 0}}\\n', summary.requests))
end
"""


def wrk(*, scratch: Path, url: str, api_key: str, embed_ids: list[int]) -> Work:
    script = scratch / "ask.lua"
    script.write_text(WRK_SCRIPT.format(api_key=api_key, ids=",".join(map(str, embed_ids))), encoding="utf-8")
    command = ["wrk", "-t1", f"-c{CONCURRENCY}", f"-d{WRK_SECONDS}s", "-s", str(script), url]

    def load() -> dict[str, float]:
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(printed.splitlines()[-1])

    return load


def answer(*, embeds: int = 5_000, rounds: int = 3) -> Answer:
    from benchmarks.server import simulator

    with simulator(embeds=embeds, latency_seconds=LATENCY_SECONDS, paging="honoured") as account:
        # Whoever comes first must not wait for the world to be made.
        account.make_everything()
        server = {"url": account.url, "api_key": account.api_key}
        contest = Contest(
            installed(
                [
                    Contestant(OURS, "benchmarks.first_backfill:ours", server),
                    Contestant(DLT, "benchmarks.first_backfill:dlt_rest_api", server, OTHERS_PYTHON),
                    Contestant(WRK, "benchmarks.first_backfill:wrk", {**server, "embed_ids": account.embed_ids()}),
                ]
            ),
            rounds,
        )
    bound = CONCURRENCY / LATENCY_SECONDS
    rate = contest.median(OURS, lambda run: run.rate)
    verdicts = [at_least("first backfill, share of the bound", rate.scaled(100 / bound), 80, " %")]
    remarks = [
        f"{CONCURRENCY} workers, {1000 * LATENCY_SECONDS:g} ms before answers: the bound is {bound:.0f} embeds per s.",
        f"wrk gets {contest.median(WRK, lambda run: run.rate) / bound:.0%} of it out of this server on these cores; "
        f"ours has {contest.ratio(OURS, WRK, lambda run: run.rate):.0%} of what wrk gets.",
        f"Ours takes {contest.median(OURS, _cpu_milliseconds):.2f} ms of CPU time per embed, all included.",
    ]
    if DLT in contest.runs:
        verdicts.append(at_least("first backfill, rate over dlt's", contest.ratio(OURS, DLT, lambda run: run.rate), 3))
        most = bound / contest.median(DLT, lambda run: run.rate)
        remarks.append(f"The bound is {most:.2f} times dlt's rate: no client can have more.")
    return Answer([contest.table("embeds", {"events": lambda run: f"{run.told['events']:,.0f}"})], verdicts, remarks)


def _cpu_milliseconds(run: Run) -> float:
    return 1000 * run.cpu_seconds / run.told["count"]


SMALL = {"embeds": 100, "rounds": 1}
