"""What depends on the version of the admin's theme."""

from __future__ import annotations

import sys
from typing import Final

import django
import pytest

with_the_theme_of_the_catalogue: Final = pytest.mark.skipif(
    sys.version_info >= (3, 12) or django.VERSION >= (6,),
    reason="newer versions of Python get a newer theme, which has more texts",
)
"""`config/locale` has the texts of the theme that Python 3.11 and Django 5.2 get."""
