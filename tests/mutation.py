"""Mutation testing: `python -m tests.mutation [PATH …]`.

Runs mutmut, which changes one expression at a time and runs the tests that execute it, and prints the share
of changes that a test has noticed. The changed copies stay in `mutants`; `.venv/bin/mutmut show NAME` shows a
change.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from typing import Final

from rich.console import Console
from rich.table import Table

PYTEST: Final = (
    *(sys.executable, "-m", "pytest", "-x", "--reuse-db"),
    *("-p", "no:cacheprovider", "-p", "no:randomly"),
)
MUTMUT: Final = (sys.executable, "-m", "mutmut")
CAUGHT: Final = {"killed", "timeout"}
NOT_ASKED: Final = {"not checked", "skipped"}

WORKERS: Final = ("tests/integration/job/test_workers.py",)
BY_PROCESSES: Final = {
    "engagement.services.resilience.workers": WORKERS,
    "engagement.services.job.heartbeat": ("tests/integration/job/test_heartbeat.py",),
    "engagement.services.job.ledger": ("tests/integration/job/test_ledger_of_processes.py",),
    "engagement.services.undo.undo_run": ("tests/integration/operation/test_undo_beside_others.py",),
    "engagement.services.job.parallel": (*WORKERS, "tests/acceptance/test_server_goes_away.py"),
}
"""The tests that execute a module in other processes, where mutmut does not see it."""

PATIENCE_SECONDS: Final = 300.0
"""A change that makes a process wait this long counts as noticed."""


def main(paths: list[str]) -> int:
    modules = [path.removesuffix(".py").strip("/").replace("/", ".") for path in paths or ["engagement"]]
    patterns = [pattern for module in modules for pattern in (f"{module}.x*", f"{module}.*.x*")]
    ended = subprocess.run([*MUTMUT, "run", "--max-children", "1", *patterns], check=False)
    if ended.returncode == 0:
        show(results(modules))
    return ended.returncode


def results(modules: list[str]) -> dict[str, dict[str, str]]:
    """The status of each tested change, by module."""
    command = [*MUTMUT, "results", "--all", "true"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, _, status in (line.strip().rpartition(": ") for line in lines):
        module = name.partition(".x")[0]
        if status not in NOT_ASKED and any(f"{module}.".startswith(f"{asked}.") for asked in modules):
            found[module][name] = ask_processes(name, module=module, status=status)
    return found


def ask_processes(name: str, *, module: str, status: str) -> str:
    """Test a missed change again, with the tests whose workers and commands execute it.

    Raises CalledProcessError when the tests themselves cannot run.
    """
    tests = BY_PROCESSES.get(module, WORKERS if status == "no tests" else ())
    if status in CAUGHT or not tests:
        return status
    environment = {**os.environ, "MUTANT_UNDER_TEST": name}
    try:
        asked = subprocess.run(
            [*PYTEST, *tests],
            cwd="mutants",
            env=environment,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "timeout"
    if asked.returncode > 1:
        asked.check_returncode()
    return "killed" if asked.returncode else "survived"


def show(modules: dict[str, dict[str, str]]) -> None:
    table = Table("module", "changes", "noticed", "missed", "score", box=None)
    missed = []
    for module, statuses in sorted(modules.items()):
        counts = Counter(status in CAUGHT for status in statuses.values())
        score = f"{counts[True] / len(statuses):.0%}"
        table.add_row(module, str(len(statuses)), str(counts[True]), str(counts[False]), score)
        missed += [f"{name} ({status})" for name, status in statuses.items() if status not in CAUGHT]
    Console().print(table, *missed, sep="\n", highlight=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
