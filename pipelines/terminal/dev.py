"""Dagster's own UI and daemon on this home: both at once (`make dev`), or each as a service of its own."""

import fcntl
import os
import runpy
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home
from pipelines.home.packaged import project_file
from pipelines.orchestration.instance.opening import instance_environment, make_databases
from pipelines.settings import dotenv_variables, load_settings


def run_dagster_dev(host: str, port: int) -> None:
    """Run `dagster dev` until a signal ends it and its children, with the instance below EMBED_ANALYTICS_HOME.

    Raises ConfigurationError when the port is taken, or when another one runs on this home. Raises KeyboardInterrupt
    after SIGINT.
    """
    environment = dev_environment(host, port)
    _require_free(host, port)
    _hold(load_settings().home, f"http://{host}:{port}")
    os.environ.update(environment)
    # Leave the folder of `.env`. Dagster would let its values, even empty ones, override the environment.
    os.chdir(environment["DAGSTER_HOME"])
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    # A non-interactive shell starts a background job with SIGINT ignored. Dagster gives SIGTERM the handler that it
    # finds for SIGINT, so it would ignore both. It ends in good order on either, and does not say which it was.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    workspace = str(project_file("workspace.yaml"))
    sys.argv = ["dagster", "dev", "-w", workspace, "-h", host, "-p", str(port)]
    try:
        runpy.run_module("dagster", run_name="__main__")
    finally:
        if signal.SIGINT in received:
            raise KeyboardInterrupt


def become_webserver(host: str, port: int) -> NoReturn:
    """Become `dagster-webserver`, the UI alone. Raises ConfigurationError when the port is taken."""
    environment = dev_environment(host, port)
    _require_free(host, port)
    _make_databases()
    _become("dagster-webserver", "-h", host, "-p", str(port), environment=environment)


def become_daemon() -> NoReturn:
    """Become `dagster-daemon`, which runs schedules, sensors and what is queued. One is at work on a home.

    Raises ConfigurationError when there is another, or `make dev`.
    """
    environment = dagster_environment()
    _hold(load_settings().home, "dagster-daemon", is_inherited=True)
    _make_databases()
    _become("dagster-daemon", "run", environment=environment)


def _make_databases() -> None:
    settings = load_settings()
    make_databases(settings.home, settings.embed_analytics_dagster_database_url)


def _become(program: str, *arguments: str, environment: dict[str, str]) -> NoReturn:
    """Replace this process, so that a service manager's signals reach the program itself."""
    # Leave the folder of `.env`, as `dev` does.
    os.chdir(environment["DAGSTER_HOME"])
    path = Path(sys.executable).with_name(program)
    workspace = ("-w", str(project_file("workspace.yaml")))
    os.execve(path, [program, *arguments, *workspace], environment)


def dev_environment(host: str, port: int) -> dict[str, str]:
    """The environment variables of the UI and its runs, including the settings in `.env`."""
    environment = dagster_environment()
    if not environment.get("EMBED_ANALYTICS_DAGSTER_URL"):
        environment["EMBED_ANALYTICS_DAGSTER_URL"] = f"http://{host}:{port}"
    return environment


def dagster_environment() -> dict[str, str]:
    """The environment variables of Dagster's processes on this home, including the settings in `.env`."""
    settings = load_settings()
    say = partial(print, file=sys.stderr)
    return {
        **os.environ,
        **dotenv_variables(),
        **instance_environment(settings.home, say, settings.embed_analytics_dagster_database_url),
        "EMBED_ANALYTICS_HOME": str(settings.home.root),
    }


def _require_free(host: str, port: int) -> None:
    """Raise if the port is taken. Dagster would silently take another one, or fail with a traceback."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"The Dagster UI cannot listen on {host}:{port}: {reason}. Choose another --host or --port."
        ) from None


def _hold(home: Home, what: str, *, is_inherited: bool = False) -> None:
    """Lock the home until this process ends, or the program that it becomes. With two, both schedulers would start
    every run."""
    descriptor = os.open(home.dagster / "dev.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace")
        os.close(descriptor)
        raise ConfigurationError(
            f"`embed-analytics dev` or `daemon` is already running on {home.root} ({holder}): stop it first, or set "
            "another EMBED_ANALYTICS_HOME."
        ) from None
    os.ftruncate(descriptor, 0)
    os.set_inheritable(descriptor, is_inherited)
    os.write(descriptor, f"process {os.getpid()}, {what}".encode())
