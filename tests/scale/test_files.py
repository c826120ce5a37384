"""The files of docs/deploy/ are right as far as that can be seen without a systemd, a container or a cluster."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.__main__ import QUESTIONS
from pipelines.settings import Settings
from tests.orchestration.dev_server import clean_environment
from tests.scale import documented
from tests.scale.containers import Stage, build, instructions
from tests.scale.documented import FOLDER, ROOT, replaced

pytestmark = pytest.mark.scale

UNITS = sorted(FOLDER.glob("*.service"))
PROGRAMS = "/opt/embed-analytics/.venv/bin/"
# Of systemd's 10: how much a process could do if somebody else had it.
EXPOSURE = 30

# Commands of docs/deploy.md that need what is not here: a systemd, users of the machine, a container, a cluster.
NOT_HERE = ("useradd ", "install ", "systemctl ", "systemd-run ", "runuser ", "docker ", "helm ")


def tool(*command: str, **environment: str) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        command, env=clean_environment() | environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def values(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    assert len(UNITS) == 3
    ours = f"{Path(sys.executable).parent}/"
    for unit in UNITS:
        (tmp_path / unit.name).write_text(replaced(unit.read_text("utf-8"), {PROGRAMS: ours}), "utf-8")
    units = [str(tmp_path / unit.name) for unit in UNITS]
    assert tool("systemd-analyze", "verify", *units) == ""
    for unit in units:
        tool("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit)
        (command,) = re.findall(r"^ExecStart=(.+)$", Path(unit).read_text("utf-8"), re.MULTILINE)
        # Options that there are not are refused before help is printed.
        assert "Usage" in tool(*command.split(), "--help")


def test_the_scripts_are_those_of_any_shell() -> None:
    tool("shellcheck", "--shell=sh", *map(str, FOLDER.glob("*.sh")))


def test_the_settings_are_settings() -> None:
    names = re.findall(r"^(\w+)=", (FOLDER / "embed-analytics.env").read_text("utf-8"), re.MULTILINE)
    assert set(names) > {"ONESCHEMA_API_KEY", "EMBED_ANALYTICS_DAGSTER_DATABASE_URL"}
    assert {name.lower() for name in names} <= Settings.model_fields.keys()


@pytest.mark.skipif(os.geteuid() != 0, reason="as in an image, `install --owner` needs root")
def test_the_image_is_built_from_the_hashed_lock(tmp_path: Path) -> None:
    base = clean_environment()
    base["PATH"] = f"{Path(sys.executable).parent}:{base['PATH']}"

    def run(command: str, stage: Stage) -> None:
        # No network: what the lock names must be there, in these versions.
        documented.run(command, stage.at("."), stage.here() | {"PIP_NO_INDEX": "1", "PIP_QUIET": "1"})
        if " -m venv " in command:
            packages = Path(stage.here()["PROGRAMS"], "lib", Path(sysconfig.get_path("purelib")).parent.name)
            borrowed = packages / "site-packages" / "borrowed.pth"
            borrowed.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    image = build(FOLDER / "Dockerfile", ROOT, tmp_path, base, run)
    home = Path(image.here()["EMBED_ANALYTICS_HOME"])
    about = home.stat()
    assert f"{about.st_uid}:{about.st_gid}" == image.user
    assert about.st_mode & 0o777 == 0o700
    program = shutil.which(image.command[0], path=image.here()["PATH"])
    assert program
    assert Path(program).is_relative_to(image.root), "the image has the command"
    said = documented.run(" ".join(image.command), image.at("."), image.here()).stdout
    assert "serve-webhooks" in said
    where = "python -c 'import pipelines; print(pipelines.__file__)'"
    found = documented.run(where, image.at("."), image.here()).stdout.strip()
    assert Path(found).is_relative_to(image.root), "of the image, not of the checkout"
    # deploy.md installs in the same way.
    for name, rest in instructions(FOLDER / "Dockerfile"):
        if name == "RUN" and "PROGRAMS" in rest:
            assert rest in documented.commands()


def test_what_the_image_is_made_of_reaches_docker() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    copied = [rest.split()[:-1] for name, rest in instructions(FOLDER / "Dockerfile") if name == "COPY"]
    sources = {source for each in copied if not each[0].startswith("--from=") for source in each}
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == sources
    assert "*" in ignored


def test_the_chart_runs_as_dagster_yaml_says() -> None:
    chart, ours = values("kubernetes.yaml"), yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    launcher = chart["runLauncher"]["config"]["customRunLauncher"]
    assert {name: launcher[name] for name in ("module", "class")} == ours["run_launcher"]
    daemon = chart["dagsterDaemon"]
    coordinator = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert coordinator["maxConcurrentRuns"] == ours["concurrency"]["runs"]["max_concurrent_runs"]
    retries, monitoring = ours["run_retries"], ours["run_monitoring"]
    assert daemon["runRetries"] == {
        "enabled": retries["enabled"],
        "maxRetries": retries["max_retries"],
        "retryOnAssetOrOpFailure": retries["retry_on_asset_or_op_failure"],
    }
    assert daemon["runMonitoring"] == {
        "enabled": monitoring["enabled"],
        "pollIntervalSeconds": monitoring["poll_interval_seconds"],
        "startTimeoutSeconds": monitoring["start_timeout_seconds"],
    }
    (code,) = chart["dagster-user-deployments"]["deployments"]
    module, location = code["dagsterApiGrpcArgs"][1::2]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text("utf-8"))
    assert workspace == {"load_from": [{"python_module": {"module_name": module, "location_name": location}}]}
    assert import_module(module).__name__ == module
    (receiver,) = code["sidecarContainers"]
    assert "Usage" in tool(sys.executable, "-m", "pipelines", *receiver["args"][1:], "--help")


def test_every_command_is_run_or_named_here() -> None:
    """By the tests beside this one: they look for the commands by a part of them."""
    sources = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("*.py"))
    parts = set(re.findall(r"documented\.command\(\s*\"([^\"]+)\"", sources))
    dockerfile = [rest for name, rest in instructions(FOLDER / "Dockerfile") if name == "RUN"]
    left = [
        line
        for line in documented.commands()
        if not line.startswith(NOT_HERE) and line not in dockerfile and not any(part in line for part in parts)
    ]
    # A setting of the lines that follow; what tests/keys/ runs; and what tests/benchmarks/ asks of every question.
    assert left == [
        "PROGRAMS=/opt/embed-analytics/.venv",
        "docs/deploy/backup-keys.sh /var/lib/embed-analytics /mnt/keys/embed-analytics",
        ".venv/bin/python -m benchmarks sizing",
    ]
    assert "sizing" in QUESTIONS
