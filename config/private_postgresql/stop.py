"""Stop the project's private server and delete its data: `python -m config.private_postgresql.stop`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config.private_postgresql.place import Place, PlaceRefusedError
from config.private_postgresql.process import ServerStuckError

PROJECT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Used by `make clean`, with whatever Python there is; a refusal ends in one sentence and exit code 1."""
    try:
        Place(project=PROJECT, user_id=os.geteuid()).remove()
    except (PlaceRefusedError, ServerStuckError, OSError) as error:
        sys.exit(f"make clean: {error}")


if __name__ == "__main__":
    main()
