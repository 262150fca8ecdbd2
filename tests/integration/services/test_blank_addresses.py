"""An address without a visible character is none."""

from __future__ import annotations

import re

import pytest

from engagement.models import VISIBLE, EngagementMessage
from engagement.services.explanation import explain_user
from engagement.states import SkipReason
from tests.factories import NOW, make_user
from tests.running import run_job

pytestmark = pytest.mark.django_db

BLANK = [
    "",
    " ",
    "\t",
    "\n",
    "\u00a0",
    "\u200b",
    "\u200f",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u3000",
    " \u200b \t",
]


def code_points(address: str) -> str:
    return "-".join(f"{ord(character):04X}" for character in address) or "empty"


@pytest.mark.parametrize("address", BLANK, ids=code_points)
def test_blank_address_gets_no_goodbye(address: str) -> None:
    user = make_user("silent", user__whatsapp_jid=address)
    result = run_job()
    assert (result.succeeded, result.skipped.no_destination) == (0, 1)
    assert not EngagementMessage.objects.exists()
    status = explain_user(user_id=user.user_id, now=NOW).user_status
    assert status
    assert status.obstacles == (SkipReason.NO_DESTINATION,)


@pytest.mark.parametrize("address", ["5", "\u200b5", "é@x", "🙂"], ids=code_points)
def test_address_with_a_visible_character_gets_one(address: str) -> None:
    make_user("silent", user__whatsapp_jid=address)
    assert run_job().succeeded == 1


@pytest.mark.parametrize("address", [*BLANK, "5", "é"], ids=code_points)
def test_python_and_postgresql_agree_about_it(address: str) -> None:
    make_user("silent", user__whatsapp_jid=address)
    assert bool(run_job().succeeded) is bool(re.search(VISIBLE, address))
