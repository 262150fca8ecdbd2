"""What the README shows is what a newcomer sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

import pytest

from tests.project.docs.markdown import code_blocks
from tests.running import PROJECT, database_url

README: Final = (PROJECT / "README.md").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is missing")
@pytest.mark.django_db(transaction=True)
def test_make_run_prints_no_log_between_the_lines_of_the_readme() -> None:
    recipe = subprocess.run(
        ["make", "--dry-run", "run", f"IN_VENV={sys.executable}"],
        cwd=PROJECT,
        # Without what the make that may run the tests puts there.
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    done = subprocess.run(
        ["/bin/sh", "-c", recipe.stdout.splitlines()[-1]],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": database_url()},
        capture_output=True,
        text=True,
        check=True,
    )
    (shown,) = (block for block in code_blocks(README) if "Setting up the database." in block)
    said = [line for line in done.stderr.splitlines() if line]
    assert [line[:30] for line in said] == ["run_engagement_daily: --now is"]
    assert said[0][:30] in shown
    assert done.stdout.splitlines()[0] in shown
