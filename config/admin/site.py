"""The site of the admin: the theme's, but for what it does not expect to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import InvalidPage
from django.http import Http404
from unfold.sites import UnfoldAdminSite

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, URLResolver


class Site(UnfoldAdminSite):
    def get_urls(self) -> list[URLPattern | URLResolver]:
        """All but the way to a row's page elsewhere: no row has one, and what is no id would fail."""
        return [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """What the side bar finds. A page that there is not is one that was not found, and no failure."""
        try:
            return super().search(request, extra_context)
        except InvalidPage as error:
            raise Http404 from error
