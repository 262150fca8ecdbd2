"""Whether the tests notice when the rules are broken bit by bit: `python -m tests.mutation [PATH …]`.

Runs mutmut, which changes one expression at a time and asks the tests that come by it, and prints what
share of the changes a test has noticed. The copies and the answers stay in `mutants`, so that a second
call asks only what is new; `mutmut show NAME` shows a change.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from typing import Final

from rich.console import Console
from rich.table import Table

MUTMUT: Final = (sys.executable, "-m", "mutmut")
CAUGHT: Final = {"killed", "timeout"}
NOT_ASKED: Final = {"not checked", "skipped"}


def main(paths: list[str]) -> int:
    modules = [path.removesuffix(".py").strip("/").replace("/", ".") for path in paths]
    patterns = [pattern for module in modules for pattern in (f"{module}.x*", f"{module}.*.x*")]
    ended = subprocess.run([*MUTMUT, "run", "--max-children", "1", *patterns], check=False)
    if ended.returncode == 0:
        show(results())
    return ended.returncode


def results() -> dict[str, dict[str, str]]:
    """By module: what became of each change that was asked about."""
    command = [*MUTMUT, "results", "--all", "true"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, _, status in (line.strip().rpartition(": ") for line in lines):
        if name and status not in NOT_ASKED:
            found[name.partition(".x")[0]][name] = status
    return found


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
