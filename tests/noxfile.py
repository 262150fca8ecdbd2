"""The tests on the newest Python: `nox -f tests/noxfile.py`. Options of pytest go after `--`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nox
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT: Final = Path(__file__).resolve().parent.parent
BASE: Final = (3, 11)
"""The Python that the requirements are pinned for."""

# Git ignores this folder and `make clean` removes it.
nox.options.envdir = str(PROJECT / ".venv" / "nox")
nox.options.error_on_missing_interpreters = True


def newest_python() -> str | None:
    """The newest released Python after BASE on this machine that starts."""
    found = {version: python for python in _pythons() if (version := _version(python))[:2] > BASE}
    return found[max(found)] if found else None


def newest_requirements() -> list[str]:
    """The requirements of the tests in their newest versions, Django included."""
    lines = [
        line
        for name in ("base.in", "production.in", "plot.in", "development.in")
        for line in (PROJECT / "requirements" / name).read_text().splitlines()
        if line and not line.startswith(("#", "-r"))
    ]
    return ["django" if Requirement(line).name == "django" else line for line in lines]


def _pythons() -> Iterator[str]:
    for minor in range(BASE[1] + 1, 100):
        if python := shutil.which(f"python3.{minor}"):
            yield python
    # pyenv's programs on the PATH start only if the version is active; those in its folders always do.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob("versions/*/bin/python")))


def _version(python: str) -> tuple[int, ...]:
    """The version, or (0,) for a preview or a Python that does not start."""
    program = "import sys; v = sys.version_info; print(*(v[:3] if v.releaselevel == 'final' else [0]))"
    try:
        answer = subprocess.run([python, "-c", program], capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    return tuple(map(int, answer.split()))


@nox.session(python=newest_python() or False)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest Python of this machine, the newest Django and the newest everything."""
    if not session.python:
        session.skip(f"this machine has no Python newer than {'.'.join(map(str, BASE))}")
    session.chdir(PROJECT)
    session.install(*newest_requirements())
    session.run(
        "python", "-c", "import django, sys; print('Python', sys.version, 'Django', django.__version__)"
    )
    session.run("python", "-m", "pytest", *session.posargs)
