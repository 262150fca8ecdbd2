"""Reading an activity log: what is accepted, and what is refused with which sentence."""

from __future__ import annotations

import gzip
import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import pytest

from engagement.models import UserProfile
from engagement.replay.activity_log import DEFAULT_LOCALE, Event, MalformedActivityLog, open_activity_log

if TYPE_CHECKING:
    from pathlib import Path

HEADER: Final = "user,occurred_at,locale,whatsapp_jid,reengagement_opt_out\n"
GOOD: Final = "ana,1997-01-01T12:00:00Z,en,99900000001@s.whatsapp.net,false\n"
NOON: Final = datetime(1997, 1, 1, 12, tzinfo=UTC)
ANA: Final = Event("ana", NOON, "en", "99900000001@s.whatsapp.net", reengagement_opt_out=False)

WANTED: Final = "the header must have the columns user and occurred_at"
TIME: Final = "occurred_at must be an ISO 8601 time with an offset, such as 1997-01-01T12:00:00Z"
NOT_CSV: Final = "this is not CSV in UTF-8, plain or gzipped"


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "data.csv"


def read(path: Path) -> list[Event]:
    with open_activity_log(path) as log:
        return list(log.events)


def refusal(path: Path) -> str:
    """The sentence, from after the directory."""
    with pytest.raises(MalformedActivityLog) as refused:
        read(path)
    return str(refused.value).removeprefix(f"{path.parent}/")


def row(*, user: str = "ana", occurred_at: str = "1997-01-01T12:00:00Z", opt_out: str = "") -> str:
    return f"{user},{occurred_at},,,{opt_out}\n"


MALFORMED: Final = {
    "empty": ("", 1, f"{WANTED}; user and occurred_at are missing."),
    "no user": ("occurred_at,locale\n", 1, f"{WANTED}; user is missing in 'occurred_at,locale'."),
    "no occurred_at, after a blank line": (
        "\nuser,when\n",
        2,
        f"{WANTED}; occurred_at is missing in 'user,when'.",
    ),
    "no header": (
        GOOD,
        1,
        f"{WANTED}; user and occurred_at are missing in 'ana,1997-01-01T12:00:00Z,en,[address],f…'.",
    ),
    "a line for Excel": (f"sep=,\n{HEADER}", 1, f"{WANTED}; user and occurred_at are missing in 'sep=,'."),
    "semicolons": (
        HEADER.replace(",", ";"),
        1,
        "the columns must be separated by commas, not as in 'user;occurred_at;locale;whatsapp_jid;re…'.",
    ),
    "tabs": (
        "user\toccurred_at\n",
        1,
        r"the columns must be separated by commas, not as in 'user\toccurred_at'.",
    ),
    "semicolons without a header": (
        GOOD.replace(",", ";"),
        1,
        "the columns must be separated by commas, not as in 'ana;1997-01-01T12:00:00Z;en;[address];f…'.",
    ),
    "an address that is too long": (
        HEADER + GOOD + f"ben,1997-01-01T12:00:00Z,en,{'9' * 256},false\n",
        3,
        "whatsapp_jid must have 255 characters or fewer.",
    ),
    "a locale that is too long": (
        HEADER + f"ben,1997-01-01T12:00:00Z,{'x' * 256},,false\n",
        2,
        "locale must have 255 characters or fewer.",
    ),
    "column twice": (
        "user,occurred_at,user\n",
        1,
        "the header must have each column once; 'user' is repeated.",
    ),
    "too few fields": (HEADER + "ana\n", 2, "the row must have 5 fields, as the header has, not 1."),
    "too many fields": (
        HEADER + GOOD.replace(",en,", ",en,x,"),
        2,
        "the row must have 5 fields, as the header",
    ),
    "no user in a row": (HEADER + row(user="  "), 2, "user must not be empty."),
    "date only": (HEADER + row(occurred_at="1997-01-01"), 2, f"{TIME}, not '1997-01-01'."),
    "naive time": (HEADER + row(occurred_at="1997-01-01T12:00:00"), 2, f"{TIME}, not"),
    "no such day": (HEADER + row(occurred_at="1997-02-30T12:00:00Z"), 2, f"{TIME}, not"),
    "fourteen digits": (HEADER + row(occurred_at="20261110120530Z"), 2, f"{TIME}, not"),
    "long nonsense": (HEADER + row(occurred_at="x" * 41), 2, f"{TIME}, not '{'x' * 39}…'."),
    "before 1970": (
        HEADER + row(occurred_at="1969-12-31T23:00:00Z"),
        2,
        "occurred_at must lie in the years 1970",
    ),
    "after 2999": (
        HEADER + row(occurred_at="2999-12-31T23:00:00-05:00"),
        2,
        "occurred_at must lie in the years",
    ),
    "a year too far ahead": (
        HEADER + row(occurred_at="9999-01-01T00:00:00Z"),
        2,
        "occurred_at must lie in the years 1970 to 2999, not '9999-01-01T00:00:00Z'.",
    ),
    "a time with a number behind it": (
        HEADER + row(occurred_at="2024-01-01T00:00:00Z;5511987654321"),
        2,
        f"{TIME}, not '2024-01-01T00:00:00Z;[number]'.",
    ),
    "a number for a fraction": (
        HEADER + row(occurred_at="2024-01-01T00:00:00.5511987654321"),
        2,
        f"{TIME}, not '2024-01-01T00:00:[number]'.",
    ),
    "a number like a date": (HEADER + row(occurred_at="5511-98-7654321"), 2, f"{TIME}, not '[number]'."),
    "a time without minutes": (HEADER + row(occurred_at="2024-01-01T08"), 2, f"{TIME}, not '2024-01-01T08'."),
    "an address for a time": (
        HEADER + row(occurred_at="99900000001@s.whatsapp.net"),
        2,
        f"{TIME}, not '[address]'.",
    ),
    "a phone number for an opt-out": (
        HEADER + row(opt_out="+55 11 99999-0042"),
        2,
        "reengagement_opt_out must be true, false or empty, not '[number]'.",
    ),
    "after a field of three lines": (
        HEADER + '"a\n\nb",1997-01-01T12:00:00Z,,,\n' + row(user=""),
        5,
        "user must",
    ),
    "in a row of three lines": (HEADER + '"an\n\na",soon,,,\n', 2, f"{TIME}, not 'soon'."),
    "a quote that never ends": (HEADER + GOOD + '"ana,1997\n', 3, NOT_CSV),
    "a quote that ends too early": (HEADER + '"a"na,1997\n', 2, NOT_CSV),
    "a NUL": (HEADER + GOOD + row(user="a\0b"), 3, f"{NOT_CSV} (invalid byte 0x00)."),
}


@pytest.mark.parametrize(("content", "line", "sentence"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_file_is_refused_with_its_line(
    log_file: Path, content: str, line: int, sentence: str
) -> None:
    log_file.write_bytes(content.encode())
    assert refusal(log_file).startswith(f"data.csv, line {line}: {sentence}")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ((HEADER + GOOD + row(user="joão")).encode("latin-1"), 3),
        (HEADER.encode("utf-16"), 1),
        (gzip.compress(HEADER.encode())[:-9], 2),
        (gzip.compress(HEADER.encode()) + b"more", 2),
    ],
    ids=["Latin-1", "UTF-16", "truncated gzip", "gzip with something behind it"],
)
def test_other_bytes_are_refused_with_their_line(log_file: Path, content: bytes, line: int) -> None:
    log_file.write_bytes(content)
    assert refusal(log_file).startswith(f"data.csv, line {line}: {NOT_CSV} (")


def test_file_that_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path) -> None:
    assert refusal(tmp_path / "data.csv") == "data.csv: the file cannot be read (No such file or directory)."
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == "folder: the file cannot be read (Is a directory)."


def test_representation_of_an_event_has_no_address_and_no_text() -> None:
    shown = repr(
        Event("ana", NOON, "en", "99900000001@s.whatsapp.net", reengagement_opt_out=False, text="oi")
    )
    assert "999" not in shown
    assert "oi" not in shown


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "data"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_gzip_is_recognized_by_its_content(tmp_path: Path, name: str, compress: type[bytes]) -> None:
    (tmp_path / name).write_bytes(compress((HEADER + GOOD).encode()))
    assert read(tmp_path / name) == [ANA]


def test_byte_order_mark_is_no_part_of_the_header(log_file: Path) -> None:
    log_file.write_text(HEADER + GOOD, encoding="utf-8-sig")
    assert read(log_file) == [ANA]


def test_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress((HEADER + GOOD).encode()),))
    writer.start()
    assert read(pipe) == [ANA]
    writer.join()


def test_header_alone_is_a_log_without_events(log_file: Path) -> None:
    log_file.write_text(HEADER)
    assert read(log_file) == []


def test_two_columns_are_enough_and_empty_cells_say_nothing(log_file: Path) -> None:
    default = Event("ana", NOON, None, None, reengagement_opt_out=None)
    log_file.write_text("occurred_at,user\n1997-01-01T12:00:00Z,ana")
    assert read(log_file) == [default]
    log_file.write_text(HEADER + "ana,1997-01-01T12:00:00Z, , ,\n")
    assert read(log_file) == [default]
    assert UserProfile().locale == DEFAULT_LOCALE


def test_columns_that_are_not_used_are_named(log_file: Path) -> None:
    log_file.write_text("user,mood,occurred_at,text\nana,good,1997-01-01T12:00:00Z,tudo  certo\n")
    with open_activity_log(log_file) as log:
        assert log.ignored_columns == ("mood", "text")
    with open_activity_log(log_file, with_text=True) as log:
        assert log.ignored_columns == ("mood",)
        assert next(log.events).text == "tudo  certo"


def test_blank_lines_and_surrounding_spaces_do_not_count(log_file: Path) -> None:
    padded = ' ana , 1997-01-01T12:00:00Z, "en", 99900000001@s.whatsapp.net , NO \n'
    log_file.write_text(f"\n{HEADER}\n  \n{padded}\n")
    assert read(log_file) == [ANA]


@pytest.mark.parametrize("user", ["joão 😀", "O'Brien; DROP TABLE", "a\nb", 'say "hi"', "x" * 5_000])
def test_user_can_be_any_text(log_file: Path, user: str) -> None:
    quoted = user.replace('"', '""')
    log_file.write_text(HEADER + row(user=f'"{quoted}"'), encoding="utf-8")
    assert [event.user for event in read(log_file)] == [user]


def test_time_is_read_with_its_offset(log_file: Path) -> None:
    log_file.write_text(HEADER + row(occurred_at="1997-01-01T09:00:00.5-03:00"))
    expected = datetime(1997, 1, 1, 9, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=-3)))
    assert [event.occurred_at for event in read(log_file)] == [expected]


@pytest.mark.parametrize(
    ("text", "opted_out"),
    [("", None), ("false", False), ("0", False), ("No", False), ("TRUE", True), ("1", True), ("yes", True)],
)
def test_opt_out_is_read_in_its_usual_spellings(log_file: Path, text: str, *, opted_out: bool | None) -> None:
    log_file.write_text(HEADER + row(opt_out=text))
    assert [event.reengagement_opt_out for event in read(log_file)] == [opted_out]


def test_events_before_the_first_error_can_be_read(log_file: Path) -> None:
    log_file.write_text(HEADER + GOOD + row(user=""))
    with open_activity_log(log_file) as log:
        assert next(log.events) == ANA
        with pytest.raises(MalformedActivityLog):
            next(log.events)
