"""The database backend: the connection and `manage.py dbshell`."""

from __future__ import annotations

from subprocess import SubprocessError
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, client
from django.db.utils import OperationalError

from config.private_postgresql.server import PORT, SERVER, ServerRefusedError, installed_programs


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell`, with the psql of the private server."""

    def runshell(self, parameters: Any) -> None:
        use_private_server(self.connection.settings_dict)
        self.executable_name = str(installed_programs() / "psql")
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    """A PostgreSQL connection that starts the private server when it connects."""

    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        use_private_server(self.settings_dict)
        return super().get_connection_params()


def use_private_server(settings: dict[str, Any]) -> None:
    """Start the server if necessary and put its address into the settings of a connection."""
    try:
        settings.update(HOST=SERVER.socket_folder(), PORT=PORT)
    except ServerRefusedError as error:
        raise ImproperlyConfigured(str(error)) from error
    except (OSError, SubprocessError) as error:
        sentence = f"the private PostgreSQL did not start: {error} (`make clean` gives it new data)."
        raise OperationalError(sentence) from error
