"""What the player of a replay leaves in the tables on which it plays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementJobRun, UserProfile
from engagement.replay.replay_log import read_replay_log
from engagement.replay.replay_player import Player, ReplayInterrupted
from engagement.services.resilience.stop import StopRequest
from engagement.states import Policy
from tests.integration.replay.logs import DAY, HOUR, MIDNIGHT, Row, write_log

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db


@pytest.fixture
def stop() -> StopRequest:
    return StopRequest()


@pytest.fixture
def player(stop: StopRequest) -> Player:
    return Player(Policy(), stop)


@pytest.mark.parametrize(
    ("locale", "whatsapp_jid"),
    [("pt-BR", "99900000001@s.whatsapp.net"), ("en", "99900000002@s.whatsapp.net")],
    ids=["another language", "another address"],
)
def test_profile_says_what_the_log_learnt_last_and_when(
    player: Player, tmp_path: Path, locale: str, whatsapp_jid: str
) -> None:
    learnt_at = MIDNIGHT + HOUR
    rows = [
        Row("ana", MIDNIGHT),
        Row("ana", learnt_at, locale=locale, whatsapp_jid=whatsapp_jid),
        Row("ana", MIDNIGHT + DAY, locale=locale, whatsapp_jid=whatsapp_jid),
    ]
    log = read_replay_log(write_log(tmp_path, rows))
    player.introduce(log.first_messages(log.whole_period))
    player.receive_all(log.messages)
    profile = UserProfile.objects.get()
    assert (profile.locale, profile.whatsapp_jid, profile.updated_at) == (locale, whatsapp_jid, learnt_at)


def test_run_of_a_replay_stands_in_no_ledger(player: Player) -> None:
    player.run_job(now=MIDNIGHT)
    assert not EngagementJobRun.objects.exists()


def test_run_hears_of_a_stop(player: Player, stop: StopRequest) -> None:
    stop.ask(15)
    with pytest.raises(ReplayInterrupted):
        player.run_job(now=MIDNIGHT)
