"""Habits of the app's code that no linter checks."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from tests.running import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP: Final = PROJECT / "engagement"
MANAGERS: Final = {"objects", "_default_manager", "_base_manager"}
MAY_QUERY: Final = {
    "admin/admin_log.py",
    "admin/api_tokens.py",
    "admin/support_actions.py",
    "groups.py",
    "management/commands/prepare_admin.py",
    "replay/demo.py",
    "replay/receiving.py",
    "sandbox/demo.py",
    "sandbox/people.py",
    "services/api_tokens.py",
    "services/delivery/channels.py",
    "services/delivery/claim.py",
    "services/delivery/leases.py",
    "services/delivery/outcomes.py",
    "services/delivery/receipts.py",
    "services/erasure.py",
    "services/inbound_messages.py",
    "services/job/ledger.py",
    "services/message_queue.py",
    "services/preferences.py",
    "services/state_machine.py",
    "services/support.py",
    "services/suppression.py",
}
"""The modules outside `selectors/` that reach tables through a manager."""


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Every node of the app's syntax trees, with its module."""
    for path in sorted(APP.rglob("*.py")):
        module = path.relative_to(APP)
        if module.parts[0] != "migrations":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield module, node


def test_every_lock_says_whether_it_covers_the_key() -> None:
    unclear = [
        f"{module}:{node.lineno}"
        for module, node in nodes()
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".select_for_update")
        and "no_key" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not unclear, "select_for_update needs no_key="


def test_only_selectors_and_the_listed_modules_query_tables() -> None:
    users = {
        str(module)
        for module, node in nodes()
        if isinstance(node, ast.Attribute) and node.attr in MANAGERS and module.parts[0] != "selectors"
    }
    assert users <= MAY_QUERY, "move these queries into engagement/selectors/"
