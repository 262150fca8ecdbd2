"""Bad input to a replay: one sentence and the right exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.integration.commands.test_bad_input import UNREACHABLE, assert_one_sentence
from tests.running import run_command, run_process

if TYPE_CHECKING:
    from pathlib import Path

HEADER: Final = "user,occurred_at\n"
GOOD: Final = f"{HEADER}ana,2026-03-02T12:00:00Z\nana,2026-03-09T12:00:00Z\n"

ARGUMENTS: Final = {
    "time for a date": (["--from", "2026-03-02T06:00:00Z"], "argument --from: must be a date such as"),
    "another calendar": (["--to", "2026-W10-1"], "argument --to: must be a date such as 1997-01-31"),
    "no such day": (["--from", "2026-02-30"], "argument --from: must be a date such as 1997-01-31"),
    "no date": (["--to", ""], "argument --to: must be a date such as 1997-01-31"),
    "other digits": (["--to", "٢٠٢٦-٠٣-٠٢"], "argument --to: must be a date such as 1997-01-31"),
    "year far away": (["--from", "9999-12-31"], "in the years 1970 to 2999, not '9999-12-31'"),
    "wrong way round": (
        ["--from", "2026-03-03", "--to", "2026-03-02"],
        "argument --to: must not be before --from, 2026-03-03",
    ),
    "no silence": (["--inactivity-days", "0"], "argument --inactivity-days: must be a whole number, from 1"),
    "ages of silence": (["--inactivity-days", "3651"], "must be a whole number, from 1 to 3650, not '3651'"),
    "silence in words": (["--inactivity-days", "7", "two weeks"], "argument --inactivity-days: must be"),
    "policy twice": (
        ["--inactivity-days", "7", "14", "--inactivity-days", "7"],
        "argument --inactivity-days: each value must be given once, but 7 is repeated",
    ),
    "no policy": (["--inactivity-days"], "argument --inactivity-days: expected at least one argument"),
    "no picture of SVG": (["--plot", "picture.png"], "must be the name of a file that ends in .svg"),
    "no folder": (["--plot", "nowhere/picture.svg"], "the folder of 'nowhere/picture.svg' does not exist"),
    "picture is a folder": (["--plot", "{folder}"], "cannot be written; choose another place"),
    "another file": (["more.csv"], "unrecognized arguments: more.csv"),
}

FILES: Final[dict[str, tuple[str | bytes | None, list[str], str]]] = {
    "no file": (None, [], "the file cannot be read (No such file or directory)."),
    "empty": ("", [], "line 1: the header must have the columns user and occurred_at"),
    "no events": (HEADER, [], "there are no events below the header."),
    "no log": ("a,b\n1,2\n", [], "user and occurred_at are missing in 'a,b'."),
    "not text": (b"\xff\xfe\x00user", [], "line 1: this is not CSV in UTF-8"),
    "broken gzip": (b"\x1f\x8b\x08\x00 no", [], "line 1: this is not CSV in UTF-8, plain or gzipped"),
    "bad row at the end": (f"{GOOD}ana,yesterday\n", [], "line 4: occurred_at must be an ISO 8601 time"),
    "nothing before": (
        GOOD,
        ["--to", "2026-03-01"],
        "goes from 2026-03-02 to 2026-03-09: there is no event on the requested days",
    ),
    "nothing after": (GOOD, ["--from", "2026-03-10"], "there is no event on the requested days; choose"),
    "nothing between": (
        GOOD,
        ["--from", "2026-03-03", "--to", "2026-03-08"],
        "there is no event on the requested days; choose others with --from and --to.",
    ),
    "a wrong century": (
        f"{GOOD}ana,2126-03-09T12:00:00Z\n",
        [],
        "the log goes from 2026-03-02 to 2126-03-09: 36,532 days are too many to replay by default",
    ),
}


@pytest.mark.parametrize(("arguments", "sentence"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_wrong_arguments_of_a_replay(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    log, folder = tmp_path / "log.csv", tmp_path / "folder.svg"
    log.write_text(GOOD)
    folder.mkdir()
    typed = [argument.format(folder=folder) for argument in arguments]
    outcome = run_command("replay_activity_log", str(log), *typed)
    assert_one_sentence(outcome, code=2, sentence=sentence)


@pytest.mark.parametrize(("content", "arguments", "sentence"), FILES.values(), ids=FILES.keys())
def test_log_that_cannot_be_replayed(
    tmp_path: Path, content: Any, arguments: list[str], sentence: str
) -> None:
    log = tmp_path / "log.csv"
    if content is not None:
        log.write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = run_command("replay_activity_log", str(log), *arguments)
    assert_one_sentence(outcome, code=1, sentence=sentence)
    assert str(log) in outcome.err


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"ENGAGEMENT_INACTIVITY_DAYS": "soon"}, "ENGAGEMENT_INACTIVITY_DAYS must be a whole number"),
        ({"ENGAGEMENT_INACTIVTY_DAYS": "7"}, "did you mean ENGAGEMENT_INACTIVITY_DAYS?"),
    ],
    ids=["wrong setting", "misspelt setting"],
)
def test_wrong_environment_of_a_replay(tmp_path: Path, environment: dict[str, str], sentence: str) -> None:
    log = tmp_path / "log.csv"
    log.write_text(GOOD)
    outcome = run_process("replay_activity_log", str(log), **({"DATABASE_URL": UNREACHABLE} | environment))
    assert_one_sentence(outcome, code=1, sentence=sentence)
    assert "secret-password" not in outcome.err
