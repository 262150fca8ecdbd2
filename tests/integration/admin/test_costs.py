"""What the pages between the lists cost: they need as many statements however many rows there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementMessage, UserEngagementState, UserProfile
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import act_url, cost_of, list_url, page_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db


def question_about_a_user() -> str:
    return act_url(UserProfile.objects.all()[0], "opt_out")


def question_about_a_message() -> str:
    return act_url(EngagementMessage.objects.all()[0], "cancel")


def history_of_a_user() -> str:
    return page_url(UserProfile.objects.all()[0]).replace("/change/", "/history/")


def search_by_id() -> str:
    return f"{list_url(UserProfile)}?q={UserProfile.objects.all()[0].pk}"


def search_by_the_beginning_of_a_number() -> str:
    jid = UserProfile.objects.exclude(whatsapp_jid=None)[0].whatsapp_jid
    assert jid
    return f"{list_url(UserEngagementState)}?q={jid[:8]}"


def states_of_who_is_due() -> str:
    return f"{list_url(UserEngagementState)}?due=inactivity_14d"


@pytest.mark.parametrize(
    "address",
    [
        question_about_a_user,
        question_about_a_message,
        history_of_a_user,
        search_by_id,
        search_by_the_beginning_of_a_number,
        states_of_who_is_due,
    ],
    ids=lambda function: function.__name__,
)
def test_page_costs_the_same_with_10_rows_and_with_10_000(
    support: Client, address: Callable[[], str]
) -> None:
    fill_tables(10)
    few = cost_of(support, address())
    fill_tables(9_990)
    assert cost_of(support, address()) == few
