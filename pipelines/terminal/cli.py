"""The command line. Each command imports what it needs when it runs, so that `--help` and errors answer at once."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipelines.errors import ConfigurationError, EmbedAnalyticsError, InterruptedRunError

app = typer.Typer(
    help="Polls OneSchema embed events and publishes a DuckDB warehouse of funnels, errors and operations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"embed-analytics {version('embed-analytics')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point. An EmbedAnalyticsError becomes one line on standard error, and exit code 1."""
    try:
        app()
    except EmbedAnalyticsError as error:
        _fail(str(error), code=130 if isinstance(error, InterruptedRunError) else 1)
    except KeyboardInterrupt:
        _fail("interrupted. What had landed is kept, and the next run goes on from there.", code=130)


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.echo(f"embed-analytics: {message}", err=True)
    sys.exit(code)


@app.command()
def refresh(
    full_refresh: Annotated[bool, typer.Option(help="Build every table from nothing.")] = False,
) -> None:
    """Poll what is due, flatten what is new, build, check and publish."""
    _run("refresh", _today(), _today(), full_refresh=full_refresh)


@app.command()
def reconcile() -> None:
    """Ask every embed, count what the source still has, check everything and publish."""
    _run("reconcile", _today(), _today())


@app.command()
def backfill(
    from_date: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First event date.")],
    to_date: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last event date, included.")],
) -> None:
    """Ask every embed that may have events in a range of dates, in one run, and publish."""
    _run("backfill", *_backfill_range(from_date, to_date))


@app.command()
def publish(
    full_refresh: Annotated[bool, typer.Option(help="Build every table from nothing.")] = False,
) -> None:
    """Flatten what raw holds, build, check and publish, without a request.

    Use it when the API is down, or when only raw/ was restored. It takes in what webhooks brought first. It needs no
    API key.
    """
    _run("publish_raw", _today(), _today(), kind="webhooks", full_refresh=full_refresh)


@app.command()
def report(
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; report.html in the home by default, or report-with-people.html.",
        ),
    ] = None,
    opens: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    with_people: Annotated[
        bool,
        typer.Option("--with-people", help="With who is stuck, and with timelines of sessions; for you alone (0600)."),
    ] = False,
) -> None:
    """Write the page: the published warehouse's numbers as one HTML file, for people who write no SQL."""
    from pipelines.report.page import write_page
    from pipelines.settings import load_settings

    path = write_page(load_settings(), out, with_people=with_people).absolute()
    typer.echo(f"written: {path}")
    if opens:
        import webbrowser

        if not webbrowser.open(path.as_uri()):
            raise ConfigurationError(f"There is no browser to open here: open {path} in one.")


@app.command()
def digest(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print it, and send nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Send it to everybody once more.")] = False,
) -> None:
    """Send how the imports went to Slack and by e-mail, once a period; print it where no setting says to whom."""
    from pipelines.digest.plain import as_text
    from pipelines.digest.sending import how_to_send, read_digest, send_digest
    from pipelines.home.times import utc_now
    from pipelines.settings import load_settings

    settings, now = load_settings(), utc_now()
    if settings.sends_digest and not dry_run:
        send_digest(settings, now, typer.echo, is_forced=force)
        return
    typer.echo(as_text(read_digest(settings, now)), nl=False)
    if not dry_run:
        typer.echo(how_to_send(), err=True)


# SQL may begin with a comment, `-- like this`, which is not an option.
@app.command(context_settings={"ignore_unknown_options": True})
def query(
    sql: Annotated[str, typer.Argument(help="The SQL; `-` reads it from standard input.")],
    output: Annotated[
        str,
        typer.Option(
            "--format",
            help="table; line: a line per value; csv; json: an array of objects; jsonl: an object a line.",
        ),
    ] = "table",
    limit: Annotated[int, typer.Option(min=1, help="Rows that a table shows at most; other formats give all.")] = 100,
    for_spreadsheets: Annotated[
        bool,
        typer.Option("--for-spreadsheets", help="With csv: an apostrophe before what is a formula to a spreadsheet."),
    ] = False,
) -> None:
    """Read-only SQL on the published warehouse.

    On a terminal a table has the columns that fit, and says how many there are; in a pipe it has them all.
    """
    from pipelines.settings import load_settings
    from pipelines.terminal.query import run_query

    if sql == "-":
        sql = sys.stdin.buffer.read().decode(errors="surrogateescape")
    run_query(load_settings().home, sql, output, limit, for_spreadsheets=for_spreadsheets)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """How fresh and complete the published data is; exit code 1 when it is stale."""
    from pipelines.home.times import utc_now
    from pipelines.settings import load_settings
    from pipelines.terminal.status import read_status, status_lines

    found = read_status(load_settings(), utc_now())
    for line in [found.as_json()] if as_json else status_lines(found):
        typer.echo(line)
    if found.is_stale:
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Look at the key, the clock, retention, claims, disk and permissions; exit code 1 when one is a problem."""
    from pipelines.settings import load_settings
    from pipelines.terminal.doctor import print_findings

    if not print_findings(load_settings(), typer.echo):
        raise typer.Exit(1)


@app.command()
def anchor(
    out: Annotated[Path | None, typer.Option(help="A file to write, to be committed or mailed.")] = None,
    timestamp: Annotated[
        str | None, typer.Option(metavar="URL", help="An authority (RFC 3161) that signs when the head existed.")
    ] = None,
) -> None:
    """Print the head of the chain of raw, for somebody else to keep; `verify` takes it again."""
    from pipelines.evidence.anchoring import anchor_home
    from pipelines.settings import load_settings

    head = anchor_home(load_settings().home, out, timestamp, lambda line: typer.echo(line, err=True))
    typer.echo(f"{head.digest} is the head of the chain; its last link has number {head.count - 1}.")


@app.command()
def verify(
    key: Annotated[
        list[Path] | None, typer.Option(help="A public key (PEM): only its signatures count. May be repeated.")
    ] = None,
    anchor: Annotated[
        list[Path] | None, typer.Option(help="A file of `anchor --out`, which the chain must hold. May be repeated.")
    ] = None,
    authority: Annotated[
        list[Path] | None, typer.Option(help="A time-stamp authority's certificate (PEM). May be repeated.")
    ] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Also read every row of raw, and compare it with its link.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take files of raw that have no link into the chain; needs --reason.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why you verify or accept: the chain keeps it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Hold raw, the lake and the warehouse against the chain, offline; exit code 1 when something is not as it was."""
    from pipelines.settings import load_settings
    from pipelines.terminal.verify import run_verify

    is_sound = run_verify(
        load_settings(),
        keys=key or (),
        anchors=anchor or (),
        authorities=authority or (),
        with_rows=rows,
        accepts=accept,
        reason=reason,
        as_json=as_json,
    )
    if not is_sound:
        raise typer.Exit(1)


@app.command()
def evidence(
    embed: Annotated[int, typer.Option(help="The session's embed_id.")],
    out: Annotated[Path, typer.Option(help="The zip to write, for you alone (0600).")],
    reason: Annotated[str, typer.Option(help="Why; the home's log keeps it, and the pack shows it.")],
) -> None:
    """Write a session's evidence pack: its timeline, its raw rows, and what proves them to somebody else."""
    from pipelines.evidence.pack import write_pack
    from pipelines.settings import load_settings

    pack = write_pack(load_settings(), embed, out, reason, lambda line: typer.echo(line, err=True))
    for left in pack.left_out:
        typer.echo(f"warning: left out, {left.file} {left.reason}", err=True)
    typer.echo(f"written: {pack.path.absolute()}")
    typer.echo(f"It has {pack.row_count} rows of raw, and this head of the chain: {pack.head.digest}")
    typer.echo("Tell the head by another way. `python3 verify.py PACK --head HEX` checks the pack by it.")


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8787,
    embeds: Annotated[int, typer.Option(min=0, help="Embed sessions in the world.")] = 3000,
    days: Annotated[float, typer.Option(min=0.01, help="Days of history before now.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 1,
    days_ahead: Annotated[float, typer.Option(min=0, help="Days that the world goes on after now.")] = 7,
    faults: Annotated[str, typer.Option(help="Faults by probability: 429=0.1,500=0.05,timeout=0.01.")] = "",
    paging: Annotated[str, typer.Option(help="ignored, honoured, capped, linked, wrapped or refused.")] = "ignored",
    list_order: Annotated[str, typer.Option(help="ascending, descending or shuffled.")] = "ascending",
    event_shape: Annotated[str, typer.Option(help="api, or full: with the webhook's fields.")] = "api",
    error_counts: Annotated[
        str, typer.Option(help="mapping: on columns_mapped alone, as documented; everywhere: on other events too.")
    ] = "mapping",
    panes: Annotated[
        str, typer.Option(help="shown: an event for every pane; skipped: some panes are skipped without an event.")
    ] = "shown",
    history: Annotated[
        str, typer.Option(help="steady; eventful: a release breaks a column, and a customer falls.")
    ] = "steady",
    now: Annotated[
        float | None, typer.Option(help="Epoch seconds at which the clock starts; the machine's time by default.")
    ] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds before every answer.")] = 0,
    retention_days: Annotated[float | None, typer.Option(help="Events older than this are purged.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve a made-up OneSchema account over HTTP: the vendor's API, with faults on demand."""
    from pydantic import ValidationError

    from pipelines.simulator.faults import parse_faults
    from pipelines.simulator.options import SimulatorOptions
    from pipelines.simulator.server import serve

    try:
        options = SimulatorOptions.model_validate(
            {
                "host": host,
                "port": port,
                "embeds": embeds,
                "days": days,
                "days_ahead": days_ahead,
                "seed": seed,
                "now": now,
                "clock_runs": True,
                "faults": parse_faults(faults),
                "paging": paging,
                "list_order": list_order,
                "event_shape": event_shape,
                "error_counts": error_counts,
                "panes": panes,
                "history": history,
                "latency_seconds": latency,
                "retention_days": retention_days,
            }
        )
    except ValidationError as error:
        problems = "; ".join(f"--{str(e['loc'][0]).replace('_', '-')}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(problems) from None
    serve(options)


@app.command()
def serve_webhooks(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8788,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Accept events without a secret; on loopback only.")
    ] = False,
    behind_authenticating_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-authenticating-proxy",
            help="With --no-auth: listen beyond loopback, because a proxy in front checks who sends.",
        ),
    ] = False,
) -> None:
    """Receive events that OneSchema pushes, beside the poll; the next refresh takes them in."""
    from pipelines.settings import load_settings
    from pipelines.webhooks.server import ServeOptions, serve

    serve(
        ServeOptions(
            load_settings(), host, port, is_open=no_auth, is_behind_authenticating_proxy=behind_authenticating_proxy
        )
    )


@app.command()
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address of the Dagster UI.")] = "127.0.0.1",
    demo: Annotated[
        Path | None, typer.Option(help="A demo's home: its account goes on, and its settings hold.")
    ] = None,
) -> None:
    """Open the Dagster UI on this home, with its schedules and sensors running."""
    if demo is not None:
        from pipelines.terminal.demo import run_demo_dev

        run_demo_dev(demo, host, port)
        return
    from pipelines.terminal.dev import run_dagster_dev

    run_dagster_dev(host, port)


@app.command()
def webserver(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address of the Dagster UI.")] = "127.0.0.1",
) -> None:
    """Become the Dagster UI alone, as a service. It has no login: put a proxy that has one before it."""
    from pipelines.terminal.dev import become_webserver

    become_webserver(host, port)


@app.command()
def daemon() -> None:
    """Become Dagster's daemon alone, as a service: schedules, sensors and queued runs."""
    from pipelines.terminal.dev import become_daemon

    become_daemon()


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Folder of the demo's home; made anew.")] = Path("demo-data"),
    embeds: Annotated[int, typer.Option(min=1, help="Embed sessions of the simulated account.")] = 3000,
    days: Annotated[int, typer.Option(min=1, help="Days of history.")] = 70,
) -> None:
    """Backfill a simulated account through HTTP and Dagster, and show what the warehouse answers."""
    from pipelines.terminal.demo import run_demo

    run_demo(home, embeds, days)


def _run(job: str, first: date, last: date, *, kind: str | None = None, full_refresh: bool = False) -> None:
    """Run a job. `kind` is its kind of sweep, by default the job's name."""
    # By default Python looks for garbage at every 700 new objects. Importing Dagster makes 200,000, and no garbage.
    gc.set_threshold(50_000, 20, 100)

    from pipelines.settings import load_settings

    settings = load_settings()
    asks = kind is None
    if asks:
        # Checked before Dagster is imported, so that a missing key is reported at once.
        settings.require_api_key()

    from pipelines.orchestration.jobs import partition_range, run_config
    from pipelines.orchestration.progress import terminal_progress
    from pipelines.orchestration.run_summary import summary_lines
    from pipelines.terminal.runs import RunFailedError, run_job

    failure: RunFailedError | None = None
    config = run_config(kind or job, full_refresh=full_refresh)
    try:
        with terminal_progress(shows_bar=asks):
            summary = run_job(settings, job, config, partition_range(first, last))
    except RunFailedError as error:
        if error.summary is None:
            raise
        summary, failure = error.summary, error
    for line in summary_lines(summary, settings.home):
        typer.echo(line)
    if failure is not None:
        raise failure


def _backfill_range(from_date: str, to_date: str) -> tuple[date, date]:
    from pipelines.home.times import PLAUSIBLE_FROM
    from pipelines.settings import load_settings

    first, last = _date("--from", from_date), _date("--to", to_date)
    start = load_settings().embed_analytics_start_date
    # A typing error in the year would add a partition for each day since then.
    earliest = start or PLAUSIBLE_FROM.date()
    if first > last:
        raise ConfigurationError(f"--from {first} is after --to {last}.")
    if last > _today():
        raise ConfigurationError(f"--to {last} is in the future: today is {_today()} (UTC).")
    if first < earliest:
        way = f"set it to {first}, or leave it out" if start else f"set it to {first} if you mean it"
        raise ConfigurationError(
            f"--from {first} is before {earliest}, the earliest day on which partitions may begin. "
            f"EMBED_ANALYTICS_START_DATE sets that day: {way}."
        )
    return first, last


def _date(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option} {text!r} is not a date: write YYYY-MM-DD.") from None


def _today() -> date:
    return datetime.now(UTC).date()
