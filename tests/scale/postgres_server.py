"""Debian's PostgreSQL, started by the test itself on a port of its own, with a password."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.orchestration.dev_server import free_port

# Signs that an address must have percent-encoded.
PASSWORD = "p@ss/word:%41#?"
ENCODED_PASSWORD = "p%40ss%2Fword%3A%2541%23%3F"
USER = DATABASE = "embed_analytics"


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `url` names no driver, as people write it."""

    port: int
    folder: Path
    programs: Path

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{ENCODED_PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def stop(self) -> None:
        """As a power cut: without waiting for anybody."""
        _run(self.programs / "pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = self.folder / "server.log"
        _run(
            *(self.programs / "pg_ctl", "-D", str(self.folder / "data"), "-l", str(log), "-o", options, "-w", "start"),
        )


@contextmanager
def postgres_server() -> Generator[PostgresServer]:
    """A server with an empty database, removed with all it holds in the end."""
    # PostgreSQL does not run as root, and its user cannot pass through pytest's folders.
    with tempfile.TemporaryDirectory(prefix="postgres-") as made:
        folder = Path(made)
        password = folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, "postgres")
        programs = _programs()
        server = PostgresServer(free_port(), folder, programs)
        _run(
            *(programs / "initdb", "-D", str(folder / "data"), "-U", USER, "-E", "UTF8", "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile={password}"),
        )
        server.start()
        try:
            _run(programs / "createdb", "-h", "127.0.0.1", "-p", str(server.port), "-U", USER, DATABASE)
            yield server
        finally:
            server.stop()


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "PostgreSQL is missing, and Dagster is tested on it: apt-get install postgresql"
    return found[-1].parent


def _run(program: Path, *arguments: str) -> None:
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*as_user, program, *arguments],
        env=os.environ | {"PGPASSWORD": PASSWORD},
        cwd="/",
        # Its children keep what they inherit open, so a pipe would not end.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if program.name != "pg_ctl" else subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{program.name} ended with {done.returncode}: {done.stderr}"
