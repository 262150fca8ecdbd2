"""What the Dockerfile does, outside a container: install steps, user, static files, entry point, probes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.acceptance.web import SETTINGS, TLS, free_port, is_up
from tests.project.docs.command_lines import parse
from tests.project.environments import BASE_PYTHON, empty_environment, pip
from tests.running import PROJECT, database_url
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKERFILE: Final = (PROJECT / "Dockerfile").read_text()
NOBODY: Final = 65534
USER: Final = 10001

pytestmark = pytest.mark.timeout(600)


def instructions(name: str) -> list[str]:
    """The arguments of an instruction, its lines joined, in the order of the file."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def words(name: str) -> list[str]:
    found: list[str] = json.loads(instructions(name)[-1])
    return found


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder with what the image would have in /srv, readable for everybody."""
    root = Path(tempfile.mkdtemp(prefix="engagement-image-"))
    root.chmod(0o755)
    venv, project = root / "venv", root / "engagement"
    python = empty_environment(venv)
    (install,) = (step for step in instructions("RUN") if "pip install" in step)
    arguments = shlex.split(install)
    arguments = arguments[arguments.index("install") :]
    arguments = [word.replace("/build/", f"{PROJECT}/") for word in arguments]
    pip("--python", str(python), *arguments)
    project.mkdir()
    ignored = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[0] not in "*!"]
    for source, target in (
        (source, words[-1])
        for copy in instructions("COPY")
        if not copy.startswith(("--from", "requirements/"))
        for words in [copy.split()]
        for source in words[:-1]
    ):
        if (PROJECT / source).is_dir():
            shutil.copytree(PROJECT / source, project / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / source, project / target)
    for path in ignored:
        shutil.rmtree(project / path, ignore_errors=True)
    (static,) = (step for step in instructions("RUN") if "collectstatic" in step)
    path = f"{venv}/bin:{os.environ['PATH']}"
    subprocess.run(static, shell=True, check=True, cwd=project, env={"PATH": path}, capture_output=True)  # noqa: S602
    yield root
    shutil.rmtree(root)


def start(image: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the entry point with these arguments, as a user without privileges."""
    return subprocess.Popen(
        [*words("ENTRYPOINT"), *arguments],
        cwd=image / "engagement",
        env={
            "PATH": f"{image}/venv/bin:{os.environ['PATH']}",
            "DATABASE_URL": database_url(),
            "PYTHONDONTWRITEBYTECODE": "1",
            **SETTINGS,
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=NOBODY if may_change_user() else None,
        group=NOBODY if may_change_user() else None,
        extra_groups=[] if may_change_user() else None,
    )


def may_change_user() -> bool:
    """Root may, unless the interpreter is in a folder of root's own."""
    folders = Path(BASE_PYTHON).resolve().parents
    return os.geteuid() == 0 and all(folder.stat().st_mode & 0o001 for folder in folders)


@pytest.mark.django_db(transaction=True)
def test_the_web_server_answers_probes_and_ends_when_it_is_told_to(image: Path) -> None:
    port = free_port()
    command = [word.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for word in words("CMD")]
    server = start(image, *command)
    try:
        wait_until(lambda: is_up(port) or server.poll() is not None, "the web server does not answer")
        health = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
        health = [word.replace(":8000", f":{port}") for word in health]
        assert subprocess.run(health, check=False).returncode == 0
        with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            assert answer.status == 200
        style_sheet = Request(f"http://127.0.0.1:{port}/static/engagement/admin.css", headers=TLS)
        with urlopen(style_sheet) as answer:  # noqa: S310  our own
            assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
        server.communicate()
    assert subprocess.run(health, check=False, capture_output=True).returncode != 0


@pytest.mark.django_db(transaction=True)
def test_another_command_runs_the_job(image: Path) -> None:
    job = start(image, "manage.py", "run_engagement_daily", "--json")
    out, err = job.communicate(timeout=60)
    assert (job.returncode, json.loads(out)["status"]) == (0, "succeeded"), err


def test_no_step_runs_as_root_and_no_shell_is_between() -> None:
    assert instructions("USER") == [str(USER)]
    (step,) = (step for step in instructions("RUN") if "useradd" in step)
    assert f"--uid {USER} " in step
    for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        assert "[" in instructions(name)[-1]
    assert not re.search(r"COPY \. ", DOCKERFILE)


def test_compose_has_the_four_programs_with_commands_that_exist() -> None:
    services = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
    assert services.keys() == {"db", "migrate", "web", "sender", "job"}
    for name in ("sender", "job"):
        program, *line = services[name]["command"]
        assert program == "manage.py"
        parse(shlex.join(line))
    # Without a backend the sender would not start.
    assert services["sender"]["profiles"] == ["sender"]
    assert services["web"]["ports"] == ["127.0.0.1:8000:8000"]


def test_programs_of_compose_can_write_to_the_folder_of_the_metrics_alone() -> None:
    compose = yaml.safe_load((PROJECT / "compose.yaml").read_text())
    for name in ("web", "sender", "job"):
        program = compose["services"][name]
        assert (program["read_only"], program["volumes"]) == (True, ["metrics:/var/lib/engagement"])
    assert "metrics" in compose["volumes"]
    # A new volume takes its owner from the image.
    (step,) = (step for step in instructions("RUN") if "useradd" in step)
    assert "install --directory --owner engagement /var/lib/engagement" in step
