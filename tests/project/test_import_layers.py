"""Imports point downwards only."""

from __future__ import annotations

import subprocess
import sys

from tests.running import PROJECT


def test_imports_point_downwards_only() -> None:
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    outcome = subprocess.run(
        [sys.executable, "-c", lint], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout
