"""What Django sees of the private server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, client
from django.db.utils import OperationalError

from config.private_postgresql import server
from config.private_postgresql.library import LibraryMissingError
from config.private_postgresql.place import Place, PlaceRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

PROJECT = Path(__file__).resolve().parents[2]


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell`: needs a running server, and psql, which came with it."""

    def runshell(self, parameters: Iterable[str]) -> None:
        address = use_private_server(self.connection.settings_dict)
        if shutil.which(self.executable_name) is None:
            self.executable_name = str(address.programs / "psql")
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    """A PostgreSQL connection whose server is started by the first attempt to connect."""

    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        use_private_server(self.settings_dict)
        return super().get_connection_params()


def use_private_server(settings: dict[str, Any]) -> server.Address:
    """Start the server if need be and put its address into a connection's settings.

    Raises ImproperlyConfigured where somebody has to change something first, OperationalError
    where the server does not start.
    """
    try:
        address = server.running(Place(project=PROJECT, user_id=os.geteuid()))
    except (PlaceRefusedError, LibraryMissingError) as error:
        raise ImproperlyConfigured(str(error)) from error
    except server.StartFailedError as error:
        raise OperationalError(str(error)) from error
    settings.update(HOST=address.host, PORT=str(address.port))
    return address
