"""Debian's nginx with docs/deploy/nginx.conf, on a port of its own, with a certificate that nobody trusts."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.scale import documented
from tests.scale.documented import FOLDER, replaced

USER, PASSWORD = "ana", "it's a password"
DASHBOARD, EVENTS = "dagster.example.com", "events.example.com"
# A certificate and its key in one file.
_CERTIFICATE = documented.ROOT / "tests" / "oneschema" / "fixtures" / "stranger.pem"

_MAIN = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/embed-analytics.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    port: int
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextmanager
def proxy(folder: Path, port: int, webserver_port: int, receiver_port: int) -> Generator[Proxy]:
    """nginx before a UI and a receiver. Its configuration passes `nginx -t` first."""
    folder.mkdir()
    passwords = folder / "embed-analytics.htpasswd"
    line = documented.command("openssl passwd")
    others = {"passwd -6": "passwd -6 -stdin", "/etc/nginx/embed-analytics.htpasswd": str(passwords)}
    documented.run(replaced(line, others), folder, os.environ, answer=PASSWORD)
    names = [f"/etc/ssl/{name}.{kind}" for name in (DASHBOARD, EVENTS) for kind in ("pem", "key")]
    text = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    others = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "127.0.0.1:3000;": f"127.0.0.1:{webserver_port};",
        "127.0.0.1:8788;": f"127.0.0.1:{receiver_port};",
        "/etc/nginx/embed-analytics.htpasswd": str(passwords),
        **dict.fromkeys(names, str(_CERTIFICATE)),
    }
    (folder / "embed-analytics.conf").write_text(replaced(text, others), encoding="utf-8")
    # Its workers would otherwise be somebody who cannot pass through pytest's folders.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user), encoding="utf-8")
    _nginx(folder, "-t")
    # It returns when it listens, and goes on in the background.
    _nginx(folder)
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    try:
        yield Proxy(port, trust)
    finally:
        _nginx(folder, "-s", "stop")


def _nginx(folder: Path, *arguments: str) -> None:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is missing: apt-get install nginx-light"
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), *arguments]
    # The background process keeps what it inherits open, so a pipe would not end.
    with (folder / "nginx.log").open("ab") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=60)
    assert done.returncode == 0, (folder / "nginx.log").read_text(encoding="utf-8")
