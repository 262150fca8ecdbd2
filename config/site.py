"""The site of the admin: the theme's, but for what it does not expect to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import InvalidPage
from django.http import Http404
from unfold.sites import UnfoldAdminSite

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class Site(UnfoldAdminSite):
    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """What the side bar finds. A page that there is not is one that was not found, and no failure."""
        try:
            return super().search(request, extra_context)
        except InvalidPage as error:
            raise Http404 from error
