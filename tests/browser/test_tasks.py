"""The twelve tasks of support and operation in a real browser, each in at most four clicks.

One visit does all of them. Two visits have both languages, both colour schemes and both widths.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from django.utils.translation import gettext, ngettext, override
from playwright.sync_api import expect

from engagement.admin.people.names import short_id
from engagement.admin.support_actions import CANCEL, OPT_OUT, RETRY
from engagement.delivery_wording import OUTCOME_REASONS
from engagement.formatting import count_text
from engagement.groups import SUPPORT
from engagement.models import EngagementMessage, EngagementStateTransition, MessageType, UserProfile
from engagement.states import State, Trigger
from tests.browser.visitor import (
    DARK_PHONE,
    PASSWORD,
    WIDE_DESK,
    fits,
    log_in,
    visitor,
)
from tests.factories import make_user, make_users, queue_for
from tests.integration.admin.pages import act_url
from tests.running import run_job

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from pytest_django.live_server_helper import LiveServer

    from engagement.admin.action_views import SupportAction
    from tests.browser.visitor import Screen

MOST_CLICKS: Final = 4
ANA: Final = "5511999990042"
BEA: Final = "5521988887777"
MOVED: Final = 4
USERS: Final = 6
UNDELIVERABLE: Final = "recipient"


class Visit:
    """A support person at work, whose clicks are counted. Typing and Enter are not clicks."""

    def __init__(self, page: Page, url: str, *, spoken: str, run_id: object) -> None:
        self.page = page
        self.url = url
        self.spoken = spoken
        """Ana's number, as a person says it."""
        self.run_id = run_id
        self.clicks = 0

    def begin(self) -> None:
        """Go to the dashboard, where each task begins."""
        self.page.goto(f"{self.url}/admin/")
        self.clicks = 0

    def click(self, target: Locator) -> None:
        self.clicks += 1
        target.click()

    def follow(self, name: str) -> None:
        self.click(self.page.get_by_role("link", name=name, exact=True).first)

    def open_user(self, searched: str, number: str) -> None:
        """Find a user with the field on the dashboard."""
        field = self.page.get_by_role("searchbox", name=gettext("Find a user"))
        field.fill(searched)
        field.press("Enter")
        self.page.wait_for_url("**q=**")
        assert self.page.locator("#result_list .data-row").count() == 1
        self.follow(number)
        self.page.locator(".engagement-timeline").wait_for()

    def open_list(self, name: str) -> None:
        """Use the side bar. On a phone it must be opened."""
        side_bar = self.page.locator("#nav-sidebar")
        if not side_bar.is_visible():
            self.click(self.page.get_by_role("button").filter(has_text="dock_to_right"))
        self.click(side_bar.get_by_role("link").filter(has_text=name).first)

    def open_messages(self, status: str) -> None:
        self.click(self.page.locator(f"a.engagement-tile[href*='status__exact={status}']"))

    def open_last_run(self) -> None:
        self.click(self.page.locator(".engagement-runs").get_by_role("link").first)

    def act(self, action: SupportAction) -> None:
        """Press the button of an action, and confirm."""
        self.follow(str(action.label))
        self.page.wait_for_url(f"**/{action.name}/")
        self.click(self.page.get_by_role("button", name=str(action.label)))

    def sees(self, text: str, within: str = "#main") -> None:
        expect(self.page.locator(within)).to_contain_text(text, ignore_case=True)


def find_by_number_as_spoken(visit: Visit) -> None:
    visit.open_user(visit.spoken, ANA)
    visit.sees(f"{ANA}@s.whatsapp.net")


def why_did_she_get_a_goodbye(visit: Visit) -> None:
    visit.open_user(visit.spoken, ANA)
    visit.sees(str(State.GOODBYE_SENT.label), ".engagement-headline")
    visit.sees(str(Trigger.INACTIVITY_14D.label), ".engagement-timeline")
    visit.sees(gettext("inactive for %(period)s").partition("%")[0], ".engagement-timeline")


def opt_out(visit: Visit) -> None:
    visit.open_user(visit.spoken, ANA)
    visit.act(OPT_OUT)
    visit.sees(gettext("by %(name)s") % {"name": "grace"}, ".engagement-timeline")


def who_opted_her_out(visit: Visit) -> None:
    visit.open_user("(21) 98888-7777", BEA)
    visit.sees(gettext("Opted out."), ".engagement-timeline")
    visit.sees(gettext("by %(name)s") % {"name": "ada"}, ".engagement-timeline")


def cancel_a_pending_message(visit: Visit) -> None:
    visit.open_messages("pending")
    visit.click(visit.page.locator("#result_list .field-type_link").get_by_role("link").first)
    visit.act(CANCEL)
    visit.sees(gettext("cancelled"))


def which_run_moved_her(visit: Visit) -> None:
    visit.open_user(visit.spoken, ANA)
    visit.follow(gettext("run %(id)s") % {"id": short_id(visit.run_id)})
    visit.page.wait_for_url(f"**/{visit.run_id}/change/")
    visit.sees(str(visit.run_id))


def whom_did_that_run_move(visit: Visit) -> None:
    visit.open_last_run()
    visit.follow(gettext("Users moved by this run"))
    visit.page.wait_for_url("**?run=**")
    assert visit.page.locator("#result_list .field-user_link").get_by_role("link").count() == MOVED
    visit.sees(ANA)


def undo_it(visit: Visit) -> None:
    visit.open_last_run()
    visit.follow(gettext("Undo this run"))
    back = ngettext("Put %(count)s user back", "Put %(count)s users back", MOVED) % {"count": MOVED}
    visit.click(visit.page.get_by_role("button", name=back))
    visit.sees(
        ngettext(
            "%(count)s user was put back by %(person)s on %(date)s.",
            "%(count)s users were put back by %(person)s on %(date)s.",
            MOVED,
        ).partition("%(date)s")[0]
        % {"count": MOVED, "person": "grace"}
    )


def which_messages_failed_and_why(visit: Visit) -> None:
    visit.open_messages("failed")
    visit.sees(str(OUTCOME_REASONS[UNDELIVERABLE]), "#result_list")
    visit.sees("131026", "#result_list")


def retry(visit: Visit) -> None:
    visit.open_messages("failed")
    visit.click(visit.page.locator("#result_list .field-type_link").get_by_role("link").first)
    visit.act(RETRY)
    visit.sees(gettext("queued again"))


def export_all(visit: Visit) -> None:
    visit.open_list(gettext("Users"))
    label = gettext("Export all %(count)s as CSV") % {"count": count_text(USERS, "user")}
    with visit.page.expect_download() as download:
        visit.click(visit.page.get_by_role("button", name=label))
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = list(csv.reader(text.splitlines()))
    assert len(rows) == 1 + USERS
    assert sum(f"{ANA}@s.whatsapp.net" in row for row in rows) == 1


def what_did_my_team_do_today(visit: Visit) -> None:
    visit.open_list(gettext("Manual actions"))
    visit.follow(gettext("Today"))
    visit.page.wait_for_url("**?action_time_from=**")
    names = visit.page.locator("#result_list .field-account").all_inner_texts()
    assert [name.split()[-1] for name in names] == ["grace"] * 5 + ["ada"]


TASKS: Final = (
    find_by_number_as_spoken,
    why_did_she_get_a_goodbye,
    opt_out,
    who_opted_her_out,
    cancel_a_pending_message,
    which_run_moved_her,
    whom_did_that_run_move,
    undo_it,
    which_messages_failed_and_why,
    retry,
    export_all,
    what_did_my_team_do_today,
)


@pytest.fixture
def run_id(transactional_db: None) -> object:
    """A run that moved Ana and three others, Bea whom Ada opted out, and a message that failed."""
    now = timezone.now()
    make_user("silent", user__whatsapp_jid=f"{ANA}@s.whatsapp.net")
    make_users(3, "silent")
    run = run_job(now=now)
    bea = make_user(user__whatsapp_jid=f"{BEA}@s.whatsapp.net", last_activity_at=now)
    for name in ("ada", "grace"):
        account = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        account.groups.add(Group.objects.get(name=SUPPORT))
    ada = Client()
    ada.force_login(User.objects.get(username="ada"))
    ada.post(act_url(bea.user, OPT_OUT.name))
    queue_for(
        make_user(last_activity_at=now),
        MessageType.WELCOME,
        status="failed",
        claimed_at=now,
        outcome_reason=UNDELIVERABLE,
        error_code="131026",
        error_message="Message undeliverable",
    )
    return run.job_id


@pytest.mark.parametrize(
    ("language", "screen", "spoken"),
    [
        pytest.param("en", DARK_PHONE, "0042", id="en-dark-phone"),
        pytest.param("pt-BR", WIDE_DESK, "(11) 99999-0042", id="pt-light-desk"),
    ],
)
def test_each_task_takes_at_most_four_clicks(
    live_server: LiveServer, run_id: object, language: str, screen: Screen, spoken: str
) -> None:
    clicks = {}
    with visitor(screen, locale=language) as page:
        log_in(page, f"{live_server.url}/admin/", name="grace")
        with override(language_of(page, language)):
            visit = Visit(page, live_server.url, spoken=spoken, run_id=run_id)
            for task in TASKS:
                visit.begin()
                task(visit)
                fits(page)
                clicks[task.__name__] = visit.clicks
    assert {name: count for name, count in clicks.items() if not 0 < count <= MOST_CLICKS} == {}
    check_what_is_stored(run_id)


def language_of(page: Page, wanted: str) -> str:
    """The language of the page: the wanted one, if our texts are translated to it."""
    with override(wanted):
        is_translated = str(OPT_OUT.label) != "Opt out"
    shown = page.locator("html").get_attribute("lang") or ""
    assert shown == (wanted.lower() if is_translated else "en")
    return shown


def check_what_is_stored(run_id: object) -> None:
    opted_out = UserProfile.objects.filter(reengagement_opt_out=True)
    assert sorted(opted_out.values_list("whatsapp_jid", "opt_out_source")) == [
        (f"{ANA}@s.whatsapp.net", "support"),
        (f"{BEA}@s.whatsapp.net", "support"),
    ]
    moved = EngagementStateTransition.objects.filter(metadata__job_id=str(run_id))
    back = EngagementStateTransition.objects.filter(metadata__undone_job_id=str(run_id))
    assert set(back.values_list("user_id", "to_state")) == set(moved.values_list("user_id", "from_state"))
    assert {row.metadata["performed_by"] for row in back} == {"grace"}
    messages = EngagementMessage.objects.values_list("message_type", "status")
    assert set(messages) == {("goodbye", "cancelled"), ("welcome", "pending")}
