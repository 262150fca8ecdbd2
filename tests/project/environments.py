"""Virtual environments without anything installed, made by the interpreter behind the tests' own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from tests.running import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

BASE_PYTHON: Final = str(getattr(sys, "_base_executable", sys.executable))
"""The interpreter behind the virtual environment, which has pip."""


def install(python: Path, *arguments: str) -> None:
    """Install into an environment, without compiling what no test imports."""
    pip("--python", str(python), "install", "--no-compile", *arguments)


def pip(*arguments: str) -> None:
    subprocess.run(
        [BASE_PYTHON, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"],
        check=True,
        cwd=PROJECT,
        capture_output=True,
    )


def empty_environment(folder: Path) -> Path:
    """Make the environment; return its interpreter."""
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"
