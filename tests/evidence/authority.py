"""A time-stamp authority of RFC 3161 on this machine: OpenSSL over HTTP. It shares nothing with the code under test."""

import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

_CONFIGURATION = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_cert = {folder}/authority.pem
signer_key = {folder}/authority.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
accuracy = secs:1
"""


@dataclass
class Authority:
    """`root` is the certificate (PEM) to trust. `answers` are given one after the other, instead of stamps."""

    url: str
    root: Path
    requests: list[bytes] = field(default_factory=list[bytes])
    answers: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_authority(folder: Path) -> Path:
    """Keys and certificates of an authority; returns the root's certificate."""
    extensions = folder / "extensions"
    extensions.write_text("extendedKeyUsage = critical,timeStamping\nkeyUsage = critical,digitalSignature\n")
    root, root_key = folder / "root.pem", folder / "root.key"
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl("req", "-x509", *new, "-keyout", root_key, "-out", root, "-subj", "/CN=Root of the tests", "-days", "3650")
    request = folder / "request.pem"
    _openssl("req", *new, "-keyout", folder / "authority.key", "-out", request, "-subj", "/CN=Authority of the tests")
    signing = ("-CA", root, "-CAkey", root_key, "-extfile", extensions, "-days", "3650", "-set_serial", "7")
    _openssl("x509", "-req", "-in", request, *signing, "-out", folder / "authority.pem")
    (folder / "serial").write_text("01\n")
    (folder / "authority.cnf").write_text(_CONFIGURATION.format(folder=folder))
    return root


def stamp(folder: Path, query: bytes) -> bytes:
    """The authority's answer to a request (both DER)."""
    with tempfile.TemporaryDirectory() as work:
        asked, answer = Path(work, "query"), Path(work, "answer")
        asked.write_bytes(query)
        _openssl("ts", "-reply", "-config", folder / "authority.cnf", "-queryfile", asked, "-out", answer)
        return answer.read_bytes()


@contextmanager
def running_authority(folder: Path) -> Generator[Authority]:
    """An authority that answers until the block ends."""
    root = make_authority(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["content-length"]))
            authority.requests.append(query)
            status, body = authority.answers.pop(0) if authority.answers else (200, stamp(folder, query))
            self.send_response(status)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    authority = Authority(f"http://127.0.0.1:{server.server_port}/tsa", root)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        server.server_close()
