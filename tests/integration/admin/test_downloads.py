"""Rows that were chosen in a list: how many at most, and what a spreadsheet gets of them."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import pytest

from engagement.models import (
    EngagementJobRun,
    UserProfile,
)
from tests.factories import make_user
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import MODELS, choose, list_url, sentences, text_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", MODELS)
def test_chosen_rows_can_be_downloaded_as_they_are_shown(viewer: Client, model: type[Model]) -> None:
    fill_tables(3)
    first, second, _ = model._default_manager.all()
    lines = choose(viewer, model, "download", first, second).content.decode().splitlines()
    assert len(lines) == 3
    key = first.pk if model in (UserProfile, EngagementJobRun) else first.user_id  # type: ignore[attr-defined]
    assert str(key) in "".join(lines)


def test_download_tells_a_spreadsheet_how_it_is_written(viewer: Client) -> None:
    profile = make_user().user
    assert choose(viewer, UserProfile, "download", profile).content.startswith(codecs.BOM_UTF8)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1"])
def test_downloaded_cells_are_no_formulas(viewer: Client, text: str) -> None:
    profile = make_user(user__locale=text).user
    assert f",'{text}," in choose(viewer, UserProfile, "download", profile).content.decode()


def test_downloaded_cell_that_begins_with_a_carriage_return_is_no_formula(viewer: Client) -> None:
    profile = make_user(user__locale="\r=1").user
    assert ',"\'\r=1",' in choose(viewer, UserProfile, "download", profile).content.decode()


def test_nothing_is_done_with_more_rows_than_anybody_reads(viewer: Client) -> None:
    fill_tables(51)
    first, *others = UserProfile.objects.all()
    assert len(choose(viewer, UserProfile, "download", *others).content.decode().splitlines()) == 51
    everybody = choose(viewer, UserProfile, "download", first, select_across="1")
    assert sentences(everybody) == ["Nothing was done: choose at most 50 rows at a time."]


def test_no_page_has_more_rows_than_may_be_chosen(viewer: Client) -> None:
    fill_tables(51)
    for query in ({}, {"all": ""}):
        assert len(viewer.get(list_url(UserProfile), query).context["cl"].result_list) == 50


def test_all_rows_of_a_long_list_cannot_be_chosen_at_once(viewer: Client) -> None:
    fill_tables(51)
    for model in MODELS:
        page = text_of(viewer, list_url(model))
        assert "All 51 selected" in page
        assert "Select all 51" not in page
