"""A user is found by any end or beginning of their number, as people say it, through an index."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models.functions import Reverse

from engagement.models import NUMBER, UserProfile
from engagement.selectors.user_search import users_with_address
from tests.factories import make_user, make_users

pytestmark = pytest.mark.django_db

WITH_NINTH = "5511999990042@s.whatsapp.net"
WITHOUT_NINTH = "551199990042@s.whatsapp.net"


@pytest.mark.parametrize("stored", [WITH_NINTH, WITHOUT_NINTH])
@pytest.mark.parametrize(
    "said",
    [
        *("+55 11 99999-0042", "5511999990042", "551199990042", "55119"),
        *("11 99999-0042", "(11) 9999-0042", "99999-0042", "9999 0042", "0042", "90042"),
        *("+55 11 99999\u20110042", "11 99999\u20130042", "11 99999\u22120042", "55/11/99999/0042"),
        *("\u202a+55 11 99999-0042\u202c", "\u2066+5511999990042\u2069", "+55\u00a011\u202f99999-0042"),
        *("011 99999-0042", "0055 11 99999-0042", "0055 11 9999-0042", "055 11 99999-0042", "0 99999-0042"),
        *("+55 (0)11 99999-0042", "+55 (011) 99999-0042", "0055 011 99999-0042"),
        *(
            "wa.me/5511999990042",
            "https://wa.me/5511999990042",
            "https://wa.me/5511999990042?text=oi%20ana",
            "https://wa.me/5511999990042/",
            "https://api.whatsapp.com/send?phone=5511999990042",
            "https://api.whatsapp.com/send/?phone=%2B5511999990042&text=oi&type=phone_number",
            "https://web.whatsapp.com/send?text=oi&phone=5511999990042",
            "whatsapp:+5511999990042",
            "whatsapp://send?phone=5511999990042",
            "tel:+55-11-99999-0042",
            "TEL:+5511999990042",
        ),
        *("(0xx11) 99999-0042", "0XX11 9999-0042", "0xx 11 99999-0042", "(0XX) 11 99999-0042"),
        *("0 15 11 99999-0042", "0 15 11 9999-0042", "(015) 11 99999-0042", "01511999990042"),
        *("5511999990042@c.us", "551199990042@s.whatsapp.net", "5511999990042:7@s.whatsapp.net"),
        *("\uff0b\uff15\uff15 11 99999-0042", "\u0665\u0665 11 99999-0042"),
    ],
)
def test_a_brazilian_number_is_found_as_people_say_it(stored: str, said: str) -> None:
    if said == "55119" and stored == WITHOUT_NINTH:
        pytest.skip("a beginning is as it is stored")
    user = make_user(user__whatsapp_jid=stored)
    make_user(user__whatsapp_jid="5521988887777@s.whatsapp.net")
    assert users_with_address(said).user_ids == [user.user_id]


@pytest.mark.parametrize(
    "said",
    [
        *("042", "0043", "11 99999-0043", "", "\0", "%", "_", "()", "\u202a", "(0)", "wa.me/", "tel:"),
        *("5511999990042@g.us", "5511999990042@lid", "https://example.org/5511999990042"),
        *("https://api.whatsapp.com/send?text=5511999990042", "https://wa.me/?text=5511999990042"),
        *("0xx", "0xx0042x", "xx11 99999-0042", "0 15 21 99999-0042", "0 15 11 99999-00423"),
    ],
)
def test_what_is_no_number_of_theirs_finds_nobody(said: str) -> None:
    make_user(user__whatsapp_jid=WITH_NINTH)
    assert users_with_address(said).user_ids == []


def test_other_addresses_are_found_by_their_beginning() -> None:
    user = make_user(user__whatsapp_jid="ana.silva@example.org")
    assert users_with_address("ana.s").user_ids == [user.user_id]


def test_too_many_are_cut_off() -> None:
    for number in range(3):
        make_users(1, user__whatsapp_jid=f"55119999{number}0042@s.whatsapp.net")
    assert len(users_with_address("0042").user_ids) == 3
    make_users(200, user__whatsapp_jid="5511888880042@s.whatsapp.net")
    found = users_with_address("0042")
    assert (len(found.user_ids), found.has_more) == (200, True)


def test_the_end_is_looked_up_in_the_index() -> None:
    make_users(500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE user_profiles")
        cursor.execute("SET LOCAL enable_seqscan = off")
    profiles = UserProfile.objects.alias(reversed_number=Reverse(NUMBER))
    plan = profiles.filter(reversed_number__startswith="2400").values("user_id")[:201].explain()
    assert "profile_number_end_idx" in plan
