"""Selected rows of a list as CSV."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementJobRun, UserProfile
from tests.factories import make_user
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import MODELS, choose, download, list_url, rows_of, sentences, text_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", MODELS)
def test_selected_rows_can_be_downloaded(viewer: Client, model: type[Model]) -> None:
    fill_tables(3)
    first, second, _ = model._default_manager.all()
    lines = download(viewer, first, second).splitlines()
    assert len(lines) == 3
    key = first.pk if model in (UserProfile, EngagementJobRun) else first.user_id  # type: ignore[attr-defined]
    assert str(key) in "".join(lines)


def test_file_begins_with_a_byte_order_mark(viewer: Client) -> None:
    profile = make_user().user
    assert choose(viewer, UserProfile, "download", profile).content.startswith(codecs.BOM_UTF8)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+1", "-1", "@SUM(1)")),
        ("\t=1", "'\t'=1"),
        ("\r=1", "\"'\r'=1\""),
        ("\n=1", "\"'\n'=1\""),
        ("a;=1+1", "a;'=1+1"),
        ("a; +1", "a;' +1"),
        *((f"{sign}1", f"'{sign}1") for sign in "\uff1d\uff0b\uff0d\uff20"),
        ("a=1", "a=1"),
        ("a;b", "a;b"),
    ],
)
def test_cell_is_never_a_formula(viewer: Client, text: str, cell: str) -> None:
    assert f",{cell}," in download(viewer, make_user(user__locale=text).user)


def test_selection_is_limited_to_one_page(viewer: Client) -> None:
    fill_tables(51)
    first, *others = UserProfile.objects.all()
    assert len(download(viewer, *others).splitlines()) == 51
    everything = choose(viewer, UserProfile, "download", first, select_across="1")
    assert sentences(everything) == ["Nothing was done: select at most 50 rows at a time."]
    for query in ({}, {"all": ""}):
        assert len(rows_of(viewer, UserProfile, **query)) == 50


@pytest.mark.parametrize("model", MODELS)
def test_list_does_not_offer_to_select_all_pages(viewer: Client, model: type[Model]) -> None:
    fill_tables(51)
    page = text_of(viewer, list_url(model))
    assert "All 51 selected" in page
    assert "Select all 51" not in page
