"""A home as version COMMIT left it, kept in former_home.tar.xz, and the account that it holds the beginning of.

`python -m tests.scale.former_home` makes the archive again: it checks that commit out beside this one, and runs its
`refresh` twice, with its own simulator. When the format of a home changes, name the commit before the change.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from pipelines.simulator.options import SimulatorOptions

COMMIT = "f49d015dd2b490df5324471f6ff46717790a56ec"
ARCHIVE = Path(__file__).with_name("former_home.tar.xz")
ROOT = Path(__file__).parents[2]

HOUR = 3600
# The account when the former version saw it last. Since then it has gone on.
ACCOUNT = SimulatorOptions(embeds=60, days=4, days_ahead=2, seed=20, panes="skipped", late_visibility=True)

# Run by the former version. Its simulator and its command are its own.
_MAKE = """
import os, subprocess, sys
from pathlib import Path
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator

options = SimulatorOptions.model_validate_json(os.environ["ACCOUNT"])
with running_simulator(options) as simulator:
    simulator.advance(-6 * 3600)
    for _ in range(2):
        environment = os.environ | {"ONESCHEMA_API_URL": simulator.url, "ONESCHEMA_API_KEY": simulator.api_key}
        subprocess.run([sys.executable, "-m", "pipelines", "refresh"], check=True, env=environment)
        simulator.advance(6 * 3600)
"""


def unpack(folder: Path) -> Path:
    """The home, unpacked below a folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        checkout = folder / "checkout"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(checkout), COMMIT], check=True)
        try:
            ours = ("ONESCHEMA_", "EMBED_ANALYTICS_", "DAGSTER_")
            environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
            environment |= {
                "PYTHONPATH": str(checkout),
                "EMBED_ANALYTICS_HOME": str(folder / "home"),
                "ACCOUNT": ACCOUNT.model_dump_json(exclude={"api_key", "client_secret"}),
            }
            subprocess.run([sys.executable, "-c", _MAKE], cwd=folder, env=environment, check=True)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(checkout)], check=True)
        with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
            archive.add(folder / "home", "home", filter=_anybodys)


def _anybodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of who made it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
