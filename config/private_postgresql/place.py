"""Where the private server's data live, and whose they are."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from config.private_postgresql import process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = 0
HOME_NAME: Final = "engagement-postgres"
ROOT_HOME: Final = Path("/var/lib") / HOME_NAME

# pg_ctl hands the socket's folder to a shell without quotes.
PLAIN_PATH: Final = re.compile(r"[\w./+@:,=-]+")


class PlaceRefusedError(Exception):
    """The data folder cannot be used by this account."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The `.postgres` of one project, as one account uses it.

    For an ordinary account it is a folder. For root it is a link to a folder of its own below
    /var/lib: PostgreSQL refuses to run as root, and opening the way into the project to another
    account would open whatever else lies on that way. A project whose path a shell would
    misread gets the link too, to a folder in the account's home.
    """

    project: Path
    user_id: int

    @property
    def link(self) -> Path:
        return self.project / ".postgres"

    @property
    def home(self) -> Path | None:
        """The folder that holds the data of several projects, where `.postgres` is a link."""
        if self.user_id == ROOT:
            return ROOT_HOME
        if PLAIN_PATH.fullmatch(str(self.project)):
            return None
        return Path.home() / ".local" / "share" / HOME_NAME

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other processes, and other threads, from preparing, starting or removing."""
        descriptor = os.open(self._made_home() or self.project, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def prepare(self) -> Path:
        """The folder for the data, made if need be. Needs the lock of `exclusively`.

        Raises PlaceRefusedError when `.postgres` is there but was made by or for somebody else.
        """
        if self.link.is_symlink() and not self.link.exists():
            self.link.unlink()
        if not self.link.exists():
            self._make()
        self._refuse_foreign_data()
        return self.link.resolve()

    def remove(self) -> None:
        """Stop the server and delete its data, for good. Root may do so for everybody.

        Raises PlaceRefusedError when the data are somebody else's.
        """
        if not os.path.lexists(self.link):
            return
        if self.user_id != ROOT:
            self._refuse_foreign_owner()
        with self.exclusively():
            folder = self.link.resolve()
            process.stop(folder / "data")
            if self._may_be_deleted(folder):
                shutil.rmtree(folder)
            if self.link.is_symlink():
                self.link.unlink()

    def _made_home(self) -> Path | None:
        if self.home is not None and not self.home.is_dir():
            self.home.mkdir(parents=True, exist_ok=True)
            # Whatever the umask: the server's account has to pass.
            self.home.chmod(0o755)
        return self.home

    def _make(self) -> None:
        if self.home is None:
            self.link.mkdir(mode=0o700)
            return
        # A new name each time: a new clone in an old one's place must not find the old data.
        folder = self.home / str(uuid.uuid4())
        folder.mkdir()
        self.link.symlink_to(folder)

    def _refuse_foreign_data(self) -> None:
        self._refuse_foreign_owner()
        expected_parent = self.project if self.home is None else self.home
        if self.link.resolve().parent != expected_parent.resolve():
            raise PlaceRefusedError(
                f"{self.link} is not where this account keeps the private server's data:"
                " run `make clean`, or set DATABASE_URL to use another server."
            )

    def _refuse_foreign_owner(self) -> None:
        owner_id = self.link.lstat().st_uid
        if owner_id != self.user_id:
            raise PlaceRefusedError(
                f"{self.link} belongs to the account {_account_name(owner_id)}: work as that account,"
                " or run `make clean` as that account first."
            )

    def _may_be_deleted(self, folder: Path) -> bool:
        """Whether it is a data folder of ours: a link may have been bent to point anywhere."""
        if not self.link.is_symlink():
            return True
        same_owner = folder.exists() and folder.stat().st_uid == self.link.lstat().st_uid
        return same_owner and folder.parent.name == HOME_NAME


def _account_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
