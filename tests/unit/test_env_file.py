"""The file `.env`: whatever in it cannot be read is an error, which repeats no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured
from environ import Env

from config.env_file import read_env_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of the test's own."""
    found = {"THERE": "before"}
    monkeypatch.setattr(Env, "ENVIRON", found)
    return found


def test_settings_are_read_beside_blank_lines_and_comments(
    env_file: Path, environment: dict[str, str]
) -> None:
    env_file.write_text("\n  \n# NAME = value\n  # another\nA=1\nexport B='x = y'\nTHERE=after\nC=\n")
    read_env_file(env_file)
    assert environment == {"A": "1", "B": "x = y", "C": "", "THERE": "before"}


def test_mark_of_the_encoding_hides_no_line(env_file: Path, environment: dict[str, str]) -> None:
    env_file.write_text("A=é\n", "utf-8-sig")
    read_env_file(env_file)
    assert environment["A"] == "é"


def test_there_may_be_no_file(env_file: Path, environment: dict[str, str]) -> None:
    read_env_file(env_file)
    assert environment == {"THERE": "before"}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("WHATSAPP_ACCESS_TOKEN = EAAB-secret", " (WHATSAPP_ACCESS_TOKEN)"),
        ("  export TOKEN =EAAB-secret", " (TOKEN)"),
        (" TOKEN=EAAB-secret", " (TOKEN)"),
        ("TOKEN=EAAB-secret\0", " (TOKEN)"),
        ("EAAB-secret", ""),
        ("EAAB secret = x", ""),
    ],
)
def test_line_that_cannot_be_read_is_named_without_its_value(
    env_file: Path, environment: dict[str, str], line: str, name: str
) -> None:
    env_file.write_text(f"A=1\n\n{line}\nB=2\n")
    with pytest.raises(ImproperlyConfigured) as refused:
        read_env_file(env_file)
    assert str(refused.value) == (
        f"{env_file}, line 3{name} cannot be read: write NAME=value, without blanks around the =."
    )
    assert "A" not in environment


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_file_in_another_encoding_is_refused_in_a_sentence(env_file: Path, encoding: str) -> None:
    env_file.write_text("TOKEN=sécret\n", encoding)
    with pytest.raises(ImproperlyConfigured) as refused:
        read_env_file(env_file)
    assert str(refused.value) == f"{env_file} is not text in UTF-8; save it as UTF-8."


def test_folder_in_its_place_is_refused_in_a_sentence(env_file: Path) -> None:
    env_file.mkdir()
    with pytest.raises(ImproperlyConfigured, match="cannot be read: Is a directory"):
        read_env_file(env_file)
