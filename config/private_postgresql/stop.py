"""Stop the project's private server and delete its data, for `make clean`. Needs no installed package."""

import sys

from config.private_postgresql.server import SERVER, ServerRefusedError

if __name__ == "__main__":
    try:
        SERVER.remove()
    except (ServerRefusedError, OSError) as error:
        sys.exit(f"make clean: {error}")
