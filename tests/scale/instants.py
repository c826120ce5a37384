"""Stops a shell script before each program that it starts, and lets a test act at that instant, or kill it there."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

Answer = Literal["go", "die", "half"]
"""The program runs; all is killed; the program does half of its work, and then all is killed."""

# Stands for a program: asks the test, then becomes the program. rsync that leaves files out does half of its work.
_STAND_IN = """#!{python} -SE
import os, signal, socket, subprocess, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    connection.sendall({name!r}.encode())
    answer = connection.recv(10)
if answer == b"half":
    subprocess.run([{program!r}, "--exclude=*[02468ace].parquet", "--exclude=*[02468ace].journal", *sys.argv[1:]])
if answer != b"go":
    os.killpg(0, signal.SIGKILL)
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


class StoppedScripts:
    """Runs scripts that stop before each of these programs, and then run what stands for it here.

    A context, which closes what it listens on.
    """

    def __init__(self, folder: Path, programs: Mapping[str, str]) -> None:
        self._folder = folder
        self._folder.mkdir()
        address = str(folder / "ask")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        for name, run_as in programs.items():
            program = shutil.which(run_as)
            assert program, f"{run_as} is missing: apt-get install {run_as}"
            stand_in = self._folder / name
            filled = _STAND_IN.format(python=sys.executable, address=address, name=name, program=program)
            stand_in.write_text(filled, encoding="utf-8")
            stand_in.chmod(0o755)

    def __enter__(self) -> "StoppedScripts":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def run(self, command: str, act: Callable[[str], Answer]) -> int:
        """Run a command of a shell to its end, and return its exit code, which is negative if it was killed.

        `act` is called at each instant, with the program that comes next.
        """
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            env={**os.environ, "PATH": f"{self._folder}:{os.environ['PATH']}"},
            process_group=0,
        )
        waiter = threading.Thread(target=self._say_when_it_ends, args=(process,))
        waiter.start()
        while (asked := self._next()) is not None:
            connection, name = asked
            with connection:
                connection.sendall(act(name).encode())
        waiter.join()
        return process.returncode

    def _next(self) -> tuple[socket.socket, str] | None:
        connection, _ = self._listener.accept()
        name = connection.recv(100).decode()
        if name:
            return connection, name
        connection.close()
        return None

    def _say_when_it_ends(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        # What it started may outlive it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._folder / "ask"))
