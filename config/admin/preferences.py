"""The language and the time zone of the pages: those of the account, else of the browser and the settings."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from config.admin.models import StaffPreferences
from engagement.conf import staff_time_zone
from engagement.sending_hours import zone_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

FOR_PROGRAMS: Final = ("/api/", "/webhooks/")
"""Paths that answer programs, always in English."""

SESSION_KEY: Final = "staff_preferences"

BRAZIL: Final = (
    ("America/Sao_Paulo", gettext_lazy("Brasília, São Paulo, Rio de Janeiro")),
    ("America/Bahia", "Salvador"),
    ("America/Fortaleza", "Fortaleza"),
    ("America/Recife", "Recife"),
    ("America/Belem", "Belém"),
    ("America/Manaus", "Manaus"),
    ("America/Cuiaba", "Cuiabá"),
    ("America/Campo_Grande", "Campo Grande"),
    ("America/Porto_Velho", "Porto Velho"),
    ("America/Boa_Vista", "Boa Vista"),
    ("America/Rio_Branco", "Rio Branco"),
    ("America/Noronha", "Fernando de Noronha"),
)


class PreferencesMiddleware:
    """Activates the language and the time zone for a request.

    They stay active after it, so that a response can be streamed; each request sets them again. A session
    keeps the account's preferences, so that they cost no statement.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        timezone.deactivate()
        if request.path_info.startswith(FOR_PROGRAMS):
            translation.activate(settings.LANGUAGE_CODE)
            return self.get_response(request)
        # Before the session is read, for the page that says that the database is away.
        translation.activate(translation.get_language_from_request(request))
        _activate(**_preferences_of(request))
        response = self.get_response(request)
        patch_vary_headers(response, ("Accept-Language",))
        response.headers.setdefault("Content-Language", translation.get_language())
        return response


class PreferencesForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for mypy alone
    """The language and the time zone of one account."""

    language = forms.ChoiceField(
        label=gettext_lazy("Language"), required=False, widget=UnfoldAdminSelectWidget
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text=gettext_lazy(
            "Pages show times in this zone, and in UTC when you point at them. Days begin and end in it too."
        ),
    )

    class Meta:
        model = StaffPreferences
        fields = ("language", "time_zone")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["language"].choices = [  # type: ignore[attr-defined]  # of a ChoiceField
            ("", _("As the browser says")),
            *settings.LANGUAGES,
        ]
        self.fields["time_zone"].choices = [  # type: ignore[attr-defined]
            ("", _("Default (%(zone)s)") % {"zone": staff_time_zone().key}),
            (_("Brazil"), BRAZIL),
            (_("All time zones"), [(name, name) for name in ("UTC", *_places())]),
        ]


def preferences_page(request: HttpRequest, *, context: dict[str, Any]) -> HttpResponse:
    """Show and save the preferences of the account. Its other sessions have them after the next log-in."""
    stored = StaffPreferences.objects.filter(pk=request.user.pk).first()
    form = PreferencesForm(request.POST or None, instance=stored or StaffPreferences(pk=request.user.pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        request.session.pop(SESSION_KEY, None)
        _activate(**_preferences_of(request))
        messages.success(request, _("Your preferences have been saved."))
        return HttpResponseRedirect(reverse("admin:preferences"))
    context |= {"title": _("Preferences"), "form": form}
    return TemplateResponse(request, "preferences.html", context)


@cache
def _places() -> tuple[str, ...]:
    """The zones that are named after places. The others are abbreviations and old names.

    Read once: each zone is a file.
    """
    names = (name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    return tuple(sorted(names))


def _preferences_of(request: HttpRequest) -> dict[str, str]:
    known: dict[str, str] | None = request.session.get(SESSION_KEY)
    if known is None and request.user.is_authenticated:
        stored = StaffPreferences.objects.filter(pk=request.user.pk).first() or StaffPreferences()
        known = {"language": stored.language, "time_zone": stored.time_zone}
        request.session[SESSION_KEY] = known
    return known or {"language": "", "time_zone": ""}


def _activate(*, language: str, time_zone: str) -> None:
    if language in dict(settings.LANGUAGES):
        translation.activate(language)
    timezone.activate(zone_named(time_zone) or staff_time_zone())
