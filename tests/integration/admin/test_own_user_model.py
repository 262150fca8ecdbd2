"""The app works in a project that has a user model of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from tests.running import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

PROJECT_FILES: Final = {
    "own/__init__.py": "",
    "own/models.py": (
        "from django.contrib.auth.models import AbstractUser\n\nclass Account(AbstractUser):\n    pass\n"
    ),
    "own/urls.py": (
        "from django.contrib import admin\nfrom django.urls import path\n\n"
        "admin.autodiscover()\nurlpatterns = [path('admin/', admin.site.urls)]\n"
    ),
    "own/settings.py": (
        "from config.settings import *\n\nINSTALLED_APPS = [*INSTALLED_APPS, 'own']\n"
        "AUTH_USER_MODEL = 'own.Account'\nROOT_URLCONF = 'own.urls'\n"
    ),
}
PROGRAM: Final = """
import django
django.setup()
from django.core.management import call_command
call_command("check")
"""


def test_admin_of_the_app_needs_no_user_model_of_django(tmp_path: Path) -> None:
    for name, text in PROJECT_FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
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
