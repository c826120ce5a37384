"""`make bench-flatten`: raw to both lake tables, beside DuckDB's bare read_json and dlt, in one run.

The contestants take turns, each time in a process of its own; the table has the medians. Ours decodes the claims,
merges deliveries and explodes the errors of 1,000,000 landed events; DuckDB copies the same lines to one Parquet and
does none of that (the floor); dlt loads a part of the lines to Parquet without nesting, in the virtual environment
that `--dlt-python` names (default: one with `dlt[parquet]`, made below benchmarks/.cache by the first run).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

CACHE = Path(__file__).parent / ".cache"
DLT_PYTHON = CACHE / "dlt" / "bin" / "python"
DLT_SHARE = 5
CORES = 2


@dataclass(frozen=True)
class Run:
    """One contestant's run: rows, seconds of the work alone, CPU seconds and peak bytes of the whole process."""

    rows: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def ours(folder: Path, scratch: Path, _: int) -> int:
    from pipelines.flatten.days import FlattenOptions, flatten_days
    from pipelines.home import Home

    (scratch / "raw").symlink_to(folder / "home" / "raw")
    return _timed(lambda: flatten_days(Home(scratch), FlattenOptions()).event_count)


def duckdb_floor(folder: Path, scratch: Path, _: int) -> int:
    import duckdb

    def copy() -> int:
        with duckdb.connect() as connection:
            connection.execute(f"set threads = {CORES}")
            target = f"'{scratch / 'events.parquet'}' (format parquet, compression zstd)"
            connection.execute(f"copy (from read_json('{folder / 'lines.ndjson'}')) to {target}")
            return connection.execute(f"select count(*) from '{scratch / 'events.parquet'}'").fetchall()[0][0]

    return _timed(copy)


def dlt_load(folder: Path, scratch: Path, events: int) -> int:
    import dlt

    rows = events // DLT_SHARE

    @dlt.resource(name="events", max_table_nesting=0)
    def lines() -> Any:
        with (folder / "lines.ndjson").open("rb") as file:
            batch: list[Any] = []
            for line in islice(file, rows):
                batch.append(json.loads(line))
                if len(batch) == 1_000:
                    yield batch
                    batch = []
            yield batch

    def load() -> int:
        destination = dlt.destinations.filesystem(bucket_url=str(scratch / "loaded"))
        pipeline = dlt.pipeline("flatten", destination=destination, dataset_name="lake", pipelines_dir=str(scratch))
        pipeline.run(lines(), loader_file_format="parquet")
        return rows

    return _timed(load)


CONTESTANTS = {"ours": ours, "duckdb read_json (floor)": duckdb_floor, "dlt, parquet loader": dlt_load}


def _timed(work: Any) -> int:
    started = time.perf_counter()
    rows = work()
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - started}), flush=True)
    return rows


def run(name: str, python: Path, folder: Path, events: int) -> Run:
    """One contestant in a process of its own."""
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        command = [str(python), __file__, "--contestant", name, "--folder", str(folder), "--scratch", scratch]
        environment = {**os.environ, "POLARS_MAX_THREADS": str(CORES), "RUNTIME__DLTHUB_TELEMETRY": "false"}
        process = subprocess.Popen(
            [*command, "--events", str(events)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        assert process.stdout is not None
        printed = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name} failed: {' '.join(command)}")
        told = json.loads(printed.splitlines()[-1])
        return Run(told["rows"], told["seconds"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def table(runs: dict[str, list[Run]]) -> str:
    """The medians of each contestant, and their rates against ours."""
    lines = [
        f"{'contestant':26}{'events':>11}{'seconds':>9}{'CPU s':>8}{'events/s':>12}{'peak MB':>9}{'time, ours = 1':>16}"
    ]
    medians = {
        name: [statistics.median(getattr(r, field) for r in found) for field in Run.__dataclass_fields__]
        for name, found in runs.items()
    }
    ours_per_row = medians["ours"][1] / medians["ours"][0]
    for name, (rows, seconds, cpu, peak) in medians.items():
        relative = seconds / rows / ours_per_row
        figures = (
            f"{rows:>11,.0f}{seconds:>9.2f}{cpu:>8.2f}{rows / seconds:>12,.0f}{peak / 1e6:>9,.0f}{relative:>16.2f}"
        )
        lines.append(f"{name:26}{figures}")
    return "\n".join(lines)


def verdict(runs: dict[str, list[Run]]) -> str:
    """The targets of the issue and what was reached; rounds ran side by side, so ratios are taken by round."""
    by_name = list(runs.values())
    floor = statistics.median(a.seconds / b.seconds for a, b in zip(by_name[0], by_name[1], strict=True))
    lines = [f"ours / floor: {floor:.2f} (target: at most 1.5)"]
    if len(by_name) > 2:
        rate = statistics.median(
            (a.rows / a.seconds) / (b.rows / b.seconds) for a, b in zip(by_name[0], by_name[2], strict=True)
        )
        lines.append(f"ours / dlt, by rate: {rate:.1f} (target: at least 25)")
    lines.append(f"peak memory of ours: {max(r.peak_bytes for r in by_name[0]) / 1e9:.2f} GB (target: under 2)")
    return "\n".join(lines)


def dlt_environment(python: Path) -> Path | None:
    """The interpreter that has dlt; made on the first run, None (and said so) where that is not possible."""
    if not python.exists() and python == DLT_PYTHON:
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "dlt[parquet]"]
        if subprocess.run(install, check=False).returncode:
            shutil.rmtree(python.parent.parent)
    if not python.exists():
        print("dlt cannot be installed here: left out")
        return None
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-dlt", action="store_true")
    parser.add_argument("--dlt-python", type=Path, default=DLT_PYTHON)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        CONTESTANTS[arguments.contestant](arguments.folder, arguments.scratch, arguments.events)
        return

    from flatten_data import data_folder

    folder = data_folder(arguments.events)
    pythons = dict.fromkeys(CONTESTANTS, Path(sys.executable))
    *_, dlt_name = CONTESTANTS
    dlt_python = None if arguments.without_dlt else dlt_environment(arguments.dlt_python)
    if dlt_python is None:
        del pythons[dlt_name]
    else:
        pythons[dlt_name] = dlt_python
    runs: dict[str, list[Run]] = {name: [] for name in pythons}
    for number in range(arguments.rounds):
        for name, python in pythons.items():
            runs[name].append(run(name, python, folder, arguments.events))
            print(f"round {number + 1}: {name} {runs[name][-1].seconds:.2f} s", flush=True)
    print()
    print(table(runs))
    print()
    print(verdict(runs))


if __name__ == "__main__":
    main()
