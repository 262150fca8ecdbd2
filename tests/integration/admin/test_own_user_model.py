"""The app works in a project that has a user model of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from tests.running import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE: Final = {
    "__init__.py": "urlpatterns = []",
    "models.py": "from django.contrib.auth.models import AbstractUser\nclass Account(AbstractUser): pass",
    "settings.py": (
        "from config.settings import *\n"
        "INSTALLED_APPS = [*INSTALLED_APPS, 'own']\nAUTH_USER_MODEL = 'own.Account'\nROOT_URLCONF = 'own'"
    ),
}
PROGRAM: Final = """
import django
django.setup()
from django.contrib import admin
from django.core.management import call_command
admin.autodiscover()
call_command("check")
"""


def test_admin_of_the_app_needs_no_user_model_of_django(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "own" / name).write_text(text)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "own.settings", "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
