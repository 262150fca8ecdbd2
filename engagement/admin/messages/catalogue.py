"""The texts of the catalogue: a list, and a page for each with languages, template and replies. Read only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import get_language_info
from django.utils.translation import gettext as _

from engagement.admin import links
from engagement.admin.read_only_admin import ReadOnlyAdmin
from engagement.conf import engagement_settings
from engagement.message_backends.base import named_backend
from engagement.message_backends.whatsapp_cloud import QUICK_REPLIES
from engagement.message_catalogue import (
    DEFAULT_LANGUAGE,
    GOODBYE,
    LANGUAGES,
    SEE_YOU_TOMORROW,
    WrongTranslation,
    is_translated,
    message_keys,
    parameters_of_message,
    render,
)
from engagement.replies import REPLIES, REPLY_TO_ANSWER, REPLY_TO_PREFERENCE, Preference
from engagement.states import TARGETS, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from engagement.message_backends.base import MessageBackend

PERMISSION: Final = "engagement.view_engagementmessage"
_REPLY_KEYS: Final = frozenset({*REPLY_TO_ANSWER.values(), *REPLY_TO_PREFERENCE.values(), SEE_YOU_TOMORROW})
"""The keys of replies, which are sent as free text and need no template."""


class Rendering(NamedTuple):
    """A text in one language."""

    language: str
    """Its name."""
    code: str
    is_default: bool
    """Whether users get it whose language has no text."""
    text: str
    template: Sequence[tuple[str, str]]
    """What the settings say of its template, by name."""
    template_note: str
    """Why there is no template, if none is needed."""
    problems: Sequence[str]
    """What is missing."""


class ReplyOption(NamedTuple):
    """A reply that users may give."""

    phrases: str
    effect: str
    answer: str
    """The key of the text that answers it."""
    answer_url: str


class MessageText(NamedTuple):
    """A text of the catalogue."""

    key: str
    url: str
    purpose: str
    parameters: Sequence[tuple[str, object]]
    """The names of the parameters, each with the value of the example."""
    renderings: Sequence[Rendering]

    @property
    def problems(self) -> list[str]:
        return [problem for rendering in self.renderings for problem in rendering.problems]


class MessageTextsAdmin(ReadOnlyAdmin):
    """Adds the pages of the texts to the list of messages."""

    def get_urls(self) -> list[URLPattern]:
        texts = self.admin_site.admin_view(self.texts_view)
        text = self.admin_site.admin_view(self.text_view)
        return [
            path("texts/", texts, name="engagement_message_texts"),
            path("texts/<path:key>/", text, name="engagement_message_text"),
            *super().get_urls(),
        ]

    def texts_view(self, request: HttpRequest) -> HttpResponse:
        """The list of all texts."""
        backend, problem = _backend()
        texts = [text_page(key, backend=backend) for key in message_keys()]
        title = _("Message texts")
        context = {"title": title, "content_title": title, "texts": texts}
        return self._page(request, "engagement/message_texts.html", context, backend, problem)

    def text_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """The page of one text."""
        if key not in message_keys():
            raise Http404
        backend, problem = _backend()
        title = _("Message text %(key)s") % {"key": key}
        context = {
            "title": title,
            "content_title": title,
            "text": text_page(key, backend=backend),
            "replies": reply_options() if key == GOODBYE else (),
            "wishes": wishes() if key == GOODBYE else (),
            "texts_url": links.message_texts_url(),
        }
        return self._page(request, "engagement/message_text.html", context, backend, problem)

    def _page(
        self,
        request: HttpRequest,
        template: str,
        context: Mapping[str, object],
        backend: MessageBackend | None,
        problem: str,
    ) -> TemplateResponse:
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        shared = {
            **self.admin_site.each_context(request),
            "backend": backend.name if backend else "",
            "backend_problem": problem,
        }
        return TemplateResponse(request, template, {**shared, **context})


def text_page(key: str, *, backend: MessageBackend | None) -> MessageText:
    """A text in all languages, with example parameters."""
    parameters = {name: _example(name) for name in sorted(parameters_of_message(key))}
    return MessageText(
        key=key,
        url=links.message_text_url(key),
        purpose=_purpose(key),
        parameters=list(parameters.items()),
        renderings=[
            _rendering(key, language, parameters, backend=backend) for language in LANGUAGES.values()
        ],
    )


def reply_options() -> list[ReplyOption]:
    """The replies to the goodbye."""
    return [
        ReplyOption(
            ", ".join(phrase for phrase, meant in REPLIES.items() if meant == trigger),
            str(TARGETS[trigger].label),
            _answer_key(trigger),
            links.message_text_url(_answer_key(trigger)),
        )
        for trigger in dict.fromkeys(REPLIES.values())
    ]


def wishes() -> list[ReplyOption]:
    """What users write to opt out and in, at any time."""
    effects = {Preference.OPTED_OUT: _("opted out"), Preference.OPTED_IN: _("opted in")}
    phrases = engagement_settings().preferences
    return [
        ReplyOption(
            ", ".join(phrase for phrase, meant in phrases.items() if meant is preference),
            effect,
            REPLY_TO_PREFERENCE[preference],
            links.message_text_url(REPLY_TO_PREFERENCE[preference]),
        )
        for preference, effect in effects.items()
    ]


def _answer_key(trigger: Trigger) -> str:
    days = engagement_settings().policy.remind_after.days
    is_tomorrow = trigger is Trigger.GOODBYE_RESPONSE_2 and days <= 1
    return SEE_YOU_TOMORROW if is_tomorrow else REPLY_TO_ANSWER[trigger.value]


def _backend() -> tuple[MessageBackend | None, str]:
    """The configured backend, or the sentence that says why there is none."""
    try:
        backend = named_backend()
    except ImproperlyConfigured as error:
        return None, str(error)
    # Of the problems that a backend finds, those of its templates concern the texts.
    problems = [problem for problem in backend.check() if "WHATSAPP_TEMPLATES must be" in problem]
    return backend, " ".join(problems)


def _purpose(key: str) -> str:
    if key == GOODBYE:
        return _("The goodbye to a user who has been silent")
    for trigger, answer in REPLY_TO_ANSWER.items():
        if key == answer:
            return _("Answers “%(reply)s”") % {"reply": Trigger(trigger).label}
    if key == SEE_YOU_TOMORROW:
        reply = Trigger.GOODBYE_RESPONSE_2.label
        return _("Answers “%(reply)s” where the reminder is due after one day") % {"reply": reply}
    if key == REPLY_TO_PREFERENCE[Preference.OPTED_OUT]:
        return _("Confirms that the user has opted out")
    if key == REPLY_TO_PREFERENCE[Preference.OPTED_IN]:
        return _("Confirms that the user has opted in")
    return _("Registered by another app")


def _example(name: str) -> object:
    """A value for a parameter: the real one where a setting has it."""
    return engagement_settings().policy.remind_after.days if name == "days" else f"[{name}]"


def _rendering(
    key: str, language: str, parameters: Mapping[str, object], *, backend: MessageBackend | None
) -> Rendering:
    name = get_language_info(language)["name_translated"]
    problems = []
    try:
        text = render(key=key, locale=language, params=parameters)
    except WrongTranslation as error:
        text = ""
        problems.append(str(error))
    if text and not is_translated(key, language=language):
        problems.append(_("No translation to %(language)s: users get the English text.") % {"language": name})
    template, note, missing = _template(key, language, name, backend=backend)
    if missing:
        problems.append(missing)
    return Rendering(name, language, language == DEFAULT_LANGUAGE, text, template, note, problems)


def _template(
    key: str, language: str, name: str, *, backend: MessageBackend | None
) -> tuple[list[tuple[str, str]], str, str]:
    """The facts of the template; or why none is needed; or what is missing."""
    if backend is None or not backend.uses_templates:
        return [], _("Not needed: this backend sends the text."), ""
    if key in _REPLY_KEYS:
        return [], _("Not needed: a reply to a user who has just written is sent as text."), ""
    template = backend.template_of(key=key, language=language)
    if template is None:
        text = _("No template for %(language)s (%(code)s): messages in this language cannot be sent.")
        return [], "", text % {"language": name, "code": language}
    facts = [
        (_("Name"), template.name),
        (_("Language"), template.language),
        (_("Sent through"), template.endpoint),
        (_("Parameters"), ", ".join(sorted(parameters_of_message(key))) or _("none")),
    ]
    if key == GOODBYE:
        facts.append((_("Buttons send"), ", ".join(QUICK_REPLIES)))
    return facts, "", ""
