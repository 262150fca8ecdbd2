"""Fixtures of the tests of activity logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.activity_log.logs import HEADER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.activity_log.logs import WriteLog


@pytest.fixture
def write_log(tmp_path: Path) -> WriteLog:
    def write(*rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "data.csv"
        path.write_text("\n".join((header, *rows)), encoding="utf-8")
        return path

    return write
