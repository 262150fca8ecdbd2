"""The app as a package: built, installed into an empty environment, and used by a bare Django project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Final

import pytest
from django.db import connection

from tests.project.environments import empty_environment, install, pip
from tests.running import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

SETTINGS: Final = """
import json, os
SECRET_KEY = "of a bare project"
INSTALLED_APPS = ["engagement", "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin",
    "django.contrib.sessions", "django.contrib.messages"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **json.loads(os.environ["DB"])}}
USE_TZ = True
TIME_ZONE = "America/Sao_Paulo"
LANGUAGE_CODE = "pt-br"
ROOT_URLCONF = "bare"
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages"]}}]
urlpatterns = []
"""
WITHOUT_ADMIN: Final = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="of a project without the admin",
    INSTALLED_APPS=["engagement", "django.contrib.contenttypes", "django.contrib.auth"],
    ROOT_URLCONF="engagement.api.urls",
)
django.setup()
from engagement.api import urls
"""


def built_wheel(folder: Path) -> Path:
    source = folder / "source"
    # A copy: setuptools leaves folders in the tree that it builds.
    shutil.copytree(
        PROJECT / "engagement", source / "engagement", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    pip("wheel", str(source), "--no-deps", "--wheel-dir", str(folder))
    (built,) = folder.glob("*.whl")
    return built


def assert_it_has_all_that_is_no_code_and_nothing_of_the_project(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(PROJECT))
        for folder in ("templates", "static", "locale", "migrations")
        for path in (PROJECT / "engagement" / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert expected <= names
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"engagement"}


@pytest.fixture
def database() -> Iterator[dict[str, str]]:
    """An empty database beside the tests' own."""
    name = f"bare_{os.getpid()}"
    settings = connection.settings_dict
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    yield {key: str(settings[key]) for key in ("HOST", "PORT", "USER", "PASSWORD")} | {"NAME": name}
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.django_db(transaction=True)
def test_the_wheel_is_whole_and_a_bare_project_runs_the_job(database: dict[str, str], tmp_path: Path) -> None:
    wheel = built_wheel(tmp_path)
    assert_it_has_all_that_is_no_code_and_nothing_of_the_project(wheel)
    python = empty_environment(tmp_path / "environment")
    install(python, str(wheel))
    (tmp_path / "bare.py").write_text(SETTINGS)

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        values = {"DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": str(tmp_path), "DB": json.dumps(database)}
        ended = subprocess.run(
            [str(python), "-m", "django", *arguments],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**values, "PATH": os.environ["PATH"]},
        )
        assert ended.returncode == 0, ended.stderr
        return ended

    assert "no issues" in manage("check").stdout
    manage("migrate", "--verbosity", "0")
    (tmp_path / "log.csv").write_text("user,occurred_at\nana,2026-03-01T06:00:00Z\n")
    manage("load_activity_log", "log.csv")
    result = json.loads(manage("run_engagement_daily", "--json").stdout)
    assert (result["status"], result["checks"]["inactivity_14d"]["skipped"]) == ("succeeded", 1)
    preview = manage("preview_message", "engagement.goodbye.self_select").stdout
    assert preview.startswith("Oi! Faz um tempo")


def test_the_api_needs_no_admin() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_ADMIN],
        check=False,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert ended.returncode == 0, ended.stderr
