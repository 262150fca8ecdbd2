"""The tree in docs/architecture.md has every module of the app's folder, its selectors and its services."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.running import PROJECT

TREE: Final = (PROJECT / "docs" / "architecture.md").read_text().partition("## Layers")[0]


@pytest.mark.parametrize("folder", [".", "selectors", "services", "services/resilience"])
def test_tree_names_every_module(folder: str) -> None:
    modules = {path.stem for path in (PROJECT / "engagement" / folder).glob("*.py")} - {"__init__", "apps"}
    words = set(re.findall(r"\w+", TREE))
    assert modules - words == set()
