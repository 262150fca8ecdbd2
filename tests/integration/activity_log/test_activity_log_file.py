"""Reading an activity log: what is taken, and what is refused with which sentence."""

from __future__ import annotations

import gzip
import os
import threading
from datetime import UTC, datetime
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.models import UserProfile
from engagement.replay.activity_log import (
    DEFAULT_LOCALE,
    LONGEST_LINE,
    Event,
    MalformedActivityLog,
    open_activity_log,
)

if TYPE_CHECKING:
    from pathlib import Path

HEADER: Final = "user,occurred_at,locale,whatsapp_jid,reengagement_opt_out\n"
GOOD: Final = "ana,1997-01-01T12:00:00Z,en,99900000001@s.whatsapp.net,false\n"
NOON: Final = datetime(1997, 1, 1, 12, tzinfo=UTC)
ANA: Final = Event("ana", NOON, "en", "99900000001@s.whatsapp.net", reengagement_opt_out=False)

WANTED: Final = "the header must name the columns user and occurred_at, separated by commas"
TIME: Final = "occurred_at must be an ISO 8601 time with an offset, such as 1997-01-01T12:00:00Z"
CUT_OFF: Final = "the gzip data is damaged or cut off from here on; copy the file again"
NOT_UTF_8: Final = "the text is not UTF-8; save the file in UTF-8"
A_NUL: Final = "there is a NUL character; save the file as text in UTF-8"
NOT_CSV: Final = "look for a quote that is missing or too many"


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
    "empty": ("", 1, f"the file is empty; {WANTED}"),
    "blank lines only": ("\n  \n\n", 1, f"the file is empty; {WANTED}"),
    "no user": ("occurred_at,locale\n", 1, f"{WANTED}; user is missing"),
    "no occurred_at, after a blank line": ("\nuser,when\n", 2, f"{WANTED}; occurred_at is missing"),
    "no header": (GOOD, 1, f"{WANTED}; user and occurred_at is missing"),
    "semicolons": (HEADER.replace(",", ";"), 1, f"{WANTED}; user and occurred_at is missing"),
    "known column twice": (
        "user,occurred_at, user\n",
        1,
        "the header must name every column once, but 'user' is there twice",
    ),
    "unknown column twice": (
        "note,user,note,occurred_at\n",
        1,
        "the header must name every column once, but 'note' is there twice",
    ),
    "too few fields": (
        HEADER + GOOD + "ben,1997-01-01T12:00:00Z\n",
        3,
        "the row must have 5 fields, as the header has, not 2",
    ),
    "too many fields": (
        HEADER + GOOD.replace("\n", ",\n"),
        2,
        "the row must have 5 fields, as the header has, not 6",
    ),
    "no user in a row": (HEADER + row(user="  "), 2, "user must not be empty"),
    "commas only": (HEADER + ",,,,\n", 2, "user must not be empty"),
    "a comma only": ("user,occurred_at\n,\n", 2, "user must not be empty"),
    "no time": (HEADER + row(occurred_at=""), 2, f"{TIME}, not ''"),
    "date only": (HEADER + row(occurred_at="1997-01-01"), 2, f"{TIME}, not '1997-01-01'"),
    "naive time": (
        HEADER + GOOD + "\n" + row(occurred_at="1997-01-01T12:00:00"),
        4,
        f"{TIME}, not '1997-01-01T12:00:00'",
    ),
    "no such day": (
        HEADER + row(occurred_at="1997-02-29T12:00:00Z"),
        2,
        f"{TIME}, not '1997-02-29T12:00:00Z'",
    ),
    "as much nonsense as is shown": (HEADER + row(occurred_at="x" * 40), 2, f"{TIME}, not '{'x' * 40}'"),
    "long nonsense": (HEADER + row(occurred_at="x" * 41), 2, f"{TIME}, not '{'x' * 39}…'"),
    "before the year 1 in UTC": (
        HEADER + row(occurred_at="0001-01-01T00:00:00+05:00"),
        2,
        "occurred_at must lie in the years 1 to 9999 of UTC, not '0001-01-01T00:00:00+05:00'",
    ),
    "after the year 9999 in UTC": (
        HEADER + row(occurred_at="9999-12-31T23:00:00-05:00"),
        2,
        "occurred_at must lie in the years 1 to 9999 of UTC, not '9999-12-31T23:00:00-05:00'",
    ),
    "an address for a time": (
        HEADER + row(occurred_at="99900000001@s.whatsapp.net"),
        2,
        f"{TIME}, not '[address]'",
    ),
    "a phone number for an opt-out": (
        HEADER + row(opt_out="+999 0000-0001"),
        2,
        "reengagement_opt_out must be true or false or empty, not '[number]'",
    ),
    "neither yes nor no": (
        HEADER + row(opt_out="maybe"),
        2,
        "reengagement_opt_out must be true or false or empty, not 'maybe'",
    ),
    "after a quoted field of three lines": (
        HEADER + '"an\n\na",1997-01-01T12:00:00Z,,,\n' + row(user=""),
        5,
        "user must not be empty",
    ),
    "in a row of three lines": (HEADER + '"an\n\na",soon,,,\n', 2, f"{TIME}, not 'soon'"),
    "lines that end in carriage returns": (
        (HEADER + GOOD + row(user="")).replace("\n", "\r"),
        3,
        "user must not be empty",
    ),
    "lines that end as on Windows": (
        (HEADER + GOOD + row(user="")).replace("\n", "\r\n"),
        3,
        "user must not be empty",
    ),
    "a quote that never ends": (
        HEADER + GOOD + '"ben,1997-01-01T12:00:00Z,,,\n' + GOOD,
        3,
        f"the row that begins here is not CSV (unexpected end of data); {NOT_CSV}",
    ),
    "a quote that ends too early": (
        HEADER + '"be"n,1997-01-01T12:00:00Z,,,\n',
        2,
        f"the row that begins here is not CSV (',' expected after '\"'); {NOT_CSV}",
    ),
    "a quote that stays open": (
        HEADER + row(user='"ben'),
        2,
        f"the row that begins here is not CSV (unexpected end of data); {NOT_CSV}",
    ),
    "a field without end": (
        HEADER + GOOD + row(user="x" * 131_073),
        3,
        f"the row that begins here is not CSV (field larger than field limit (131072)); {NOT_CSV}",
    ),
    "a line without end": (
        HEADER + "x" * LONGEST_LINE + "\0",
        2,
        "the line is longer than 1,000,000 characters; put each event on its own line",
    ),
    "a NUL": (HEADER + GOOD + "\n" + row(user="a\0b"), 4, A_NUL),
    "a NUL in the header": ("user\0,occurred_at\n", 1, A_NUL),
}


@pytest.mark.parametrize(("text", "line", "problem"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_file_is_told_in_one_sentence_with_its_line(
    log_file: Path, text: str, line: int, problem: str
) -> None:
    log_file.write_text(text, encoding="utf-8", newline="")

    assert refusal(log_file) == f"data.csv, line {line}: {problem}."


NOT_TEXT: Final = {
    "Latin-1": ((HEADER + GOOD + row(user="joão")).encode("latin-1"), 3, NOT_UTF_8),
    "inside a quoted field": (f'{HEADER}"jo\n\nã",'.encode("latin-1"), 4, NOT_UTF_8),
    "UTF-16": (HEADER.encode("utf-16"), 1, A_NUL),
    "UTF-16 without its mark": (HEADER.encode("utf-16-le"), 1, A_NUL),
}


@pytest.mark.parametrize(("content", "line", "problem"), NOT_TEXT.values(), ids=NOT_TEXT)
def test_other_encodings_are_refused_with_their_line(
    log_file: Path, content: bytes, line: int, problem: str
) -> None:
    log_file.write_bytes(content)

    assert refusal(log_file) == f"data.csv, line {line}: {problem}."


def test_truncated_gzip_is_refused_where_it_breaks_off(log_file: Path) -> None:
    whole = gzip.compress((HEADER + GOOD).encode())
    log_file.write_bytes(whole[:-4])

    assert refusal(log_file) == f"data.csv, line 3: {CUT_OFF}."


@pytest.mark.parametrize("position", [3, 12, -6], ids=["its header", "its data", "its checksum"])
def test_gzip_with_a_wrong_byte_is_refused(log_file: Path, position: int) -> None:
    damaged = bytearray(gzip.compress((HEADER + GOOD).encode()))
    damaged[position] ^= 0xFF
    log_file.write_bytes(damaged)

    assert refusal(log_file).endswith(f": {CUT_OFF}.")


def test_gzip_with_something_else_behind_it_is_refused(log_file: Path) -> None:
    log_file.write_bytes(gzip.compress((HEADER + GOOD).encode()) + b"something else")

    assert refusal(log_file) == f"data.csv, line 3: {CUT_OFF}."


def test_missing_file_is_told_in_one_sentence(log_file: Path) -> None:
    assert refusal(log_file) == "data.csv: the file cannot be read (No such file or directory)."


def test_directory_is_told_in_one_sentence(log_file: Path) -> None:
    log_file.mkdir()

    assert refusal(log_file) == "data.csv: the file cannot be read (Is a directory)."


def test_unreadable_file_is_told_in_one_sentence(log_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may read everything

    assert refusal(log_file) == "data.csv: the file cannot be read (Permission denied)."


class FailingDisk(RawIOBase):
    """Gives what it is given, and then an error."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__()
        self.pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.pieces:
            raise OSError(5, "Input/output error")
        piece = self.pieces.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("pieces", [[], [(HEADER + GOOD).encode()]], ids=["at once", "in the middle"])
def test_failing_disk_is_told_in_one_sentence(
    log_file: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    disk = BufferedReader(FailingDisk(*pieces))
    monkeypatch.setattr("pathlib.Path.open", lambda _path, _mode: disk)

    assert refusal(log_file) == "data.csv: the file cannot be read (Input/output error)."


def test_event_has_what_its_row_says(log_file: Path) -> None:
    log_file.write_text(HEADER + GOOD, encoding="utf-8")

    assert read(log_file) == [ANA]


def test_representation_of_an_event_has_no_address() -> None:
    assert "999" not in repr(ANA)


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_gzip_is_known_by_its_content_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress((HEADER + GOOD).encode()))

    assert read(tmp_path / name) == [ANA]


def test_plain_text_may_be_named_gz(tmp_path: Path) -> None:
    (tmp_path / "data.csv.gz").write_text(HEADER + GOOD, encoding="utf-8")

    assert read(tmp_path / "data.csv.gz") == [ANA]


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
    log_file.write_text(HEADER, encoding="utf-8")

    assert read(log_file) == []


def test_two_columns_are_enough(log_file: Path) -> None:
    log_file.write_text("occurred_at,user\n1997-01-01T12:00:00Z,ana", encoding="utf-8")

    assert read(log_file) == [Event("ana", NOON, DEFAULT_LOCALE, None, reengagement_opt_out=False)]


def test_text_is_read_for_whoever_asks_for_it_and_shown_to_nobody(log_file: Path) -> None:
    log_file.write_text("user,occurred_at,text\nana,1997-01-01T12:00:00Z, tudo  certo \n", encoding="utf-8")

    assert read(log_file)[0].text is None
    with open_activity_log(log_file) as log:
        assert log.ignored_columns == ("text",)
    with open_activity_log(log_file, with_text=True) as log:
        assert log.ignored_columns == ()
        event = next(log.events)
    assert event.text == "tudo  certo"
    assert "certo" not in repr(event)


def test_empty_cells_mean_the_defaults(log_file: Path) -> None:
    log_file.write_text(HEADER + "ana,1997-01-01T12:00:00Z, , ,\n", encoding="utf-8")

    assert read(log_file) == [Event("ana", NOON, "pt-BR", None, reengagement_opt_out=False)]


def test_default_locale_is_that_of_the_table() -> None:
    assert UserProfile().locale == DEFAULT_LOCALE


def test_blank_lines_and_surrounding_spaces_do_not_count(log_file: Path) -> None:
    padded = ' ana , 1997-01-01T12:00:00Z, "en" '.removesuffix(" ") + ", 99900000001@s.whatsapp.net , NO \n"
    log_file.write_text(f"\n   \n{HEADER.replace(',', ' , ')}\n{padded}\n\n", encoding="utf-8")

    assert read(log_file) == [ANA]


def test_ignored_columns_are_named(log_file: Path) -> None:
    log_file.write_text("text,user,occurred_at,note\nhello,ana,1997-01-01T12:00:00Z,x\n", encoding="utf-8")

    with open_activity_log(log_file) as log:
        assert log.ignored_columns == ("text", "note")
        assert [event.user for event in log.events] == ["ana"]


@pytest.mark.parametrize(
    "user", ["joão 😀", "O'Brien; DROP TABLE", "a\nb", "a\r\nb", 'say "hi"', "x" * 5_000]
)
def test_user_may_be_any_text(log_file: Path, user: str) -> None:
    quoted = '"' + user.replace('"', '""') + '"'
    log_file.write_text(HEADER + row(user=quoted), encoding="utf-8", newline="")

    assert [event.user for event in read(log_file)] == [user]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1997-01-01T12:00:00+00:00", NOON),
        ("1997-01-01T09:00:00-03:00", NOON),
        ("1997-01-01 12:00Z", NOON),
        ("19970101T120000Z", NOON),
        ("1997-01-01T12:00:00.250Z", NOON.replace(microsecond=250_000)),
        ("0001-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_time_is_read_with_its_offset(log_file: Path, text: str, expected: datetime) -> None:
    log_file.write_text(HEADER + row(occurred_at=text), encoding="utf-8")

    event = read(log_file)[0]

    assert event.occurred_at == expected
    assert event.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "opted_out"),
    [
        *((text, True) for text in ("true", "TRUE", "1", "Yes")),
        *((text, False) for text in ("false", "False", "0", "no", "")),
    ],
)
def test_opt_out_is_read_in_its_usual_spellings(log_file: Path, text: str, *, opted_out: bool) -> None:
    log_file.write_text(HEADER + row(opt_out=text), encoding="utf-8")

    assert read(log_file)[0].reengagement_opt_out is opted_out


def test_events_before_the_mistake_are_read_first(log_file: Path) -> None:
    log_file.write_text(HEADER + GOOD + row(user=""), encoding="utf-8")

    with open_activity_log(log_file) as log:
        assert next(log.events) == ANA
        with pytest.raises(MalformedActivityLog):
            next(log.events)
