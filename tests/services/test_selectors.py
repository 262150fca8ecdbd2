"""The questions to the tables that other tests ask only in passing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engagement import selectors
from tests.factories import NOW, make_user
from tests.services.moving import move

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def test_dormancy_lasts_since_the_last_move_there_of_those_asked_for() -> None:
    user, stranger = make_user("goodbye_sent"), make_user("goodbye_sent")
    for somebody in (user, stranger):
        move(somebody, "goodbye_response_3", now=NOW - 9 * DAY)
        move(somebody, "user_message", now=NOW - DAY)
    assert selectors.dormant_since([user.user_id]) == {user.user_id: NOW - 9 * DAY}
