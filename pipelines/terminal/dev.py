"""`make dev`: Dagster's own UI and daemon on this home."""

import fcntl
import os
import runpy
import signal
import socket
import sys
from functools import partial

from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home
from pipelines.home.packaged import project_file
from pipelines.orchestration.instance.opening import instance_environment
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


def dev_environment(host: str, port: int) -> dict[str, str]:
    """The environment variables of `dagster dev` and its runs, including the settings in `.env`."""
    settings = load_settings()
    environment = {
        **os.environ,
        **dotenv_variables(),
        **instance_environment(settings.home, partial(print, file=sys.stderr)),
    }
    environment["EMBED_ANALYTICS_HOME"] = str(settings.home.root)
    if not environment.get("EMBED_ANALYTICS_DAGSTER_URL"):
        environment["EMBED_ANALYTICS_DAGSTER_URL"] = f"http://{host}:{port}"
    return environment


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


def _hold(home: Home, url: str) -> None:
    """Lock the home until this process ends. With two processes, both schedulers would start every run."""
    descriptor = os.open(home.dagster / "dev.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace")
        os.close(descriptor)
        raise ConfigurationError(
            f"`embed-analytics dev` is already running on {home.root} ({holder}): stop it first, or set another "
            "EMBED_ANALYTICS_HOME."
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()}, {url}".encode())
