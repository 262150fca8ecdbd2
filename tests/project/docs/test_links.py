"""Links between the guides have a target."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.project.docs.markdown import GUIDES, anchor, headings, prose
from tests.running import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("guide", GUIDES, ids=[str(path.relative_to(PROJECT)) for path in GUIDES])
def test_every_link_of_a_guide_has_a_target(guide: Path) -> None:
    links = [link for link in LINK.findall(prose(guide.read_text())) if "://" not in link]
    assert [link for link in links if not has_target(guide, link)] == []


def has_target(guide: Path, link: str) -> bool:
    name, _, fragment = link.partition("#")
    target = guide.parent / name if name else guide
    return target.exists() and (
        not fragment or fragment in {anchor(title) for title in headings(target.read_text())}
    )


def test_every_guide_is_linked_from_the_readme() -> None:
    readme = PROJECT / "README.md"
    linked = {(PROJECT / link.partition("#")[0]).resolve() for link in LINK.findall(readme.read_text())}
    assert set(GUIDES) - linked == {readme}
