"""Thirty days of one user, for each path through the states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from engagement.models import EngagementStateTransition
from tests.integration.journeys.journey import DAY_0, Journey

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana() -> Iterator[Journey]:
    with freeze_time(DAY_0) as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        yield Journey(clock)


def test_user_who_writes_every_other_week_gets_no_goodbye(ana: Journey) -> None:
    assert ana.writes("quanto gastei este mês?", day=14) is None
    assert ana.writes("2", day=28) is None
    ana.comes_to(30)
    assert (ana.state, ana.diary, ana.mail) == ("active", [], [])


def test_user_who_stays_silent_gets_one_goodbye_and_becomes_dormant(ana: Journey) -> None:
    ana.comes_to(14)
    assert (ana.state, ana.mail) == ("active", [])
    ana.comes_to(15)
    assert (ana.state, ana.mail) == ("goodbye_sent", ["day 15: goodbye sent"])
    # The 48 hours end at 06:00:00 of day 17; the run of that instant is too early.
    ana.comes_to(17)
    assert ana.state == "goodbye_sent"
    ana.comes_to(30)
    assert ana.state == "dormant"
    assert ana.diary == ["day 15: inactivity_14d -> goodbye_sent", "day 18: goodbye_timeout -> dormant"]
    assert ana.mail == ["day 15: goodbye sent"]


def test_confused_user_gets_help_and_comes_back(ana: Journey) -> None:
    assert ana.writes("1️⃣", day=15) == "engagement.reply.help"
    assert ana.state == "help_flow"
    assert ana.writes("não acho o botão de relatório", day=16) is None
    ana.comes_to(30)
    assert ana.state == "active"
    assert ana.diary == [
        "day 15: inactivity_14d -> goodbye_sent",
        "day 15: goodbye_response_1 -> help_flow",
        "day 16: user_message -> active",
    ]
    assert ana.mail == ["day 15: goodbye sent"]


def test_busy_user_becomes_dormant_two_weeks_later(ana: Journey) -> None:
    assert ana.writes("ocupado!", day=15) == "engagement.reply.see_you_in_two_weeks"
    ana.comes_to(29)
    assert ana.state == "remind_later"
    ana.comes_to(30)
    assert ana.state == "dormant"
    assert ana.diary == [
        "day 15: inactivity_14d -> goodbye_sent",
        "day 15: goodbye_response_2 -> remind_later",
        "day 30: reminder_due -> dormant",
    ]
    assert ana.mail == ["day 15: goodbye sent"]


def test_user_who_says_all_is_good_gets_no_more_messages(ana: Journey) -> None:
    assert ana.writes("Tudo certo.", day=16) == "engagement.reply.door_is_open"
    ana.comes_to(30)
    assert ana.state == "dormant"
    assert ana.diary == [
        "day 15: inactivity_14d -> goodbye_sent",
        "day 16: goodbye_response_3 -> dormant",
    ]
    assert ana.mail == ["day 15: goodbye sent"]


def test_user_who_returns_before_the_timeout_is_active(ana: Journey) -> None:
    assert ana.writes("oi! sumi, né?", day=17) is None
    ana.comes_to(30)
    assert ana.state == "active"
    assert ana.diary == ["day 15: inactivity_14d -> goodbye_sent", "day 17: user_message -> active"]
    assert ana.mail == ["day 15: goodbye sent"]


def test_return_after_the_timeout_counts_as_unprompted(ana: Journey) -> None:
    # After the timeout the number is a message like any other.
    assert ana.writes("1", day=25) is None
    ana.comes_to(30)
    assert ana.state == "active"
    assert ana.diary == [
        "day 15: inactivity_14d -> goodbye_sent",
        "day 18: goodbye_timeout -> dormant",
        "day 25: user_message -> active",
    ]
    assert EngagementStateTransition.objects.latest("created_at").metadata["unprompted_return"] is True


def test_user_who_opts_out_gets_no_goodbye(ana: Journey) -> None:
    assert ana.writes("Parar", day=3) == "engagement.reply.opted_out"
    ana.comes_to(30)
    assert (ana.state, ana.has_opted_out, ana.diary, ana.mail) == ("active", True, [], [])


def test_user_who_opts_out_after_the_goodbye_stays_active(ana: Journey) -> None:
    assert ana.writes("cancelar mensagens", day=15, hour=9) == "engagement.reply.opted_out"
    assert ana.writes("2", day=15, hour=10) is None
    ana.comes_to(30)
    assert (ana.state, ana.has_opted_out) == ("active", True)
    assert ana.diary == ["day 15: inactivity_14d -> goodbye_sent", "day 15: user_message -> active"]
    assert ana.mail == ["day 15: goodbye sent"]


def test_user_who_opts_out_before_the_goodbye_is_sent_does_not_get_it(
    ana: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Journey, "sender_works", lambda _self: None)
        ana.comes_to(15)
    assert ana.mail == ["day 15: goodbye pending"]
    assert ana.writes("sair", day=15) == "engagement.reply.opted_out"
    ana.comes_to(30)
    assert ana.mail == ["day 15: goodbye cancelled"]


def test_user_who_opts_in_again_gets_a_goodbye(ana: Journey) -> None:
    ana.writes("stop", day=2)
    assert ana.writes("start", day=10) == "engagement.reply.opted_in"
    ana.comes_to(30)
    assert (ana.state, ana.has_opted_out) == ("dormant", False)
    assert ana.mail == ["day 25: goodbye sent"]
