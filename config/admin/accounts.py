"""Pages for accounts and groups: invitation by a one-time link, permissions, and what must not be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UsernameField
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from config.admin.one_time_links import days_valid, mail_is_configured, one_time_link, send_link
from engagement.admin import admin_log
from engagement.admin.action_views import Button
from engagement.groups import GROUPS, assignable_permissions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

# The import of Django's classes has registered them.
admin.site.unregister(User)
admin.site.unregister(Group)


PERMISSION_TEXTS: Final = {
    "bring_back": gettext_lazy("Mark users as active"),
    "cancel_message": gettext_lazy("Cancel pending messages"),
    "change_opt_out": gettext_lazy("Opt users out and in"),
    "manage_api_tokens": gettext_lazy("Create and revoke API tokens"),
    "resolve_message": gettext_lazy("Say whether messages with an unknown outcome arrived"),
    "resume_sending": gettext_lazy("End pauses of sending"),
    "retry_message": gettext_lazy("Retry failed messages"),
    "undo_run": gettext_lazy("Undo runs"),
    "view_contact": gettext_lazy("See users' WhatsApp numbers"),
}


class ByLabel(forms.models.ModelChoiceIterator):  # type: ignore[type-arg]  # generic for mypy alone
    """Choices in the order of their labels."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__(), key=lambda choice: str(choice[1])))


class PermissionField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # generic for mypy alone
    """Our permissions in the language of the account. Others have the English names of the database."""

    iterator = ByLabel

    def label_from_instance(self, permission: Permission) -> str:
        if text := PERMISSION_TEXTS.get(permission.codename):
            return str(text)
        model = ContentType.objects.get_for_id(permission.content_type_id).model_class()
        if model and permission.codename.startswith("view_"):
            return _("View %(rows)s") % {"rows": model._meta.verbose_name_plural}  # noqa: SLF001  Django's API
        return permission.name


class PermissionsAdmin(ModelAdmin):
    """A form whose picker lists only the permissions that something here asks for.

    Others that the account or group already has stay in the list, so that saving the form keeps them.
    """

    owner: str
    """The relation from a permission back to the account or group."""

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.related_model is Permission:
            options["form_class"] = PermissionField
            options["queryset"] = self._choices(request)
        return super().formfield_for_manytomany(db_field, request, **options)

    def _choices(self, request: HttpRequest) -> Any:
        match = request.resolver_match
        owner_id = str(match.kwargs.get("object_id", "")) if match else ""
        ours = assignable_permissions()
        if not owner_id.isdecimal():
            return ours
        held = Permission.objects.filter(**{self.owner: owner_id}).order_by()
        return Permission.objects.filter(pk__in=ours.values("pk").union(held.values("pk"))).order_by("name")


class InvitationForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for mypy alone
    """A new account, without a password: its owner sets one with a one-time link."""

    class Meta:
        model = User
        fields = ("username", "email", "groups")
        field_classes: ClassVar = {"username": UsernameField}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["email"].help_text = _("Optional. Links can be sent there.")
        self.fields["groups"].required = True
        self.fields["groups"].help_text = _("What the account may see and do.")

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError(_("There is an account with this name."))
        return name


@admin.register(User)
class UserAdmin(DjangoUserAdmin, PermissionsAdmin):  # type: ignore[type-arg]  # generic for mypy alone
    """Accounts cannot be deleted or renamed, because the audit log has their names.

    The account of a person who leaves is made inactive. Only superusers change superusers.
    """

    owner = "user"
    form = UserChangeForm
    add_form = InvitationForm
    add_form_template = "accounts/invite.html"
    add_fieldsets = ((None, {"fields": ("username", "email", "groups")}),)
    change_password_form = AdminPasswordChangeForm
    change_form_outer_before_template = "engagement/buttons.html"
    filter_horizontal = ("user_permissions",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.link_view)
        return [path("<int:account_id>/link/", view, name="auth_user_link"), *super().get_urls()]

    def has_delete_permission(self, _request: HttpRequest, _obj: User | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        is_guarded = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not is_guarded and super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fields = (*super().get_readonly_fields(request, obj), "last_login", "date_joined")
        if not request.user.is_superuser:
            fields = (*fields, "is_superuser")
        return (*fields, "username") if obj else fields

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Show the groups as check boxes, without a button that adds one."""
        if db_field.name == "groups":
            return db_field.formfield(widget=UnfoldAdminCheckboxSelectMultipleWidget())
        return super().formfield_for_dbfield(db_field, request, **options)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        account = context.get("original")
        if account and self.has_change_permission(request, account):
            url = reverse(f"{self.admin_site.name}:auth_user_link", args=(account.pk,))
            context["buttons"] = [Button(_("One-time link"), url)]
        if not account:
            # The answer is the page with the link.
            context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: Any) -> None:
        if not change:
            obj.is_staff = True
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: User, *_args: Any) -> HttpResponse:
        """Show the link of the new account on the page that answers."""
        return self._link_page(request, obj, link=one_time_link(request, obj))

    def link_view(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Make a one-time link for an account, and show it once or send it by mail."""
        account = self.get_object(request, str(account_id))
        if account is None:
            raise Http404
        if not self.has_change_permission(request, account):
            raise PermissionDenied
        if request.method != "POST" or not account.is_active:
            return self._link_page(request, account)
        if "send" in request.POST and _can_send(account):
            return self._send(request, account)
        self.log_change(request, account, admin_log.LINK_MADE)
        return self._link_page(request, account, link=one_time_link(request, account))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Show the history in the language of the reader."""
        response = super().history_view(request, object_id, extra_context)
        for entry in getattr(response, "context_data", {}).get("action_list", ()):
            entry.change_message = admin_log.shown_sentence(entry.change_message)
        return response

    def _send(self, request: HttpRequest, account: User) -> HttpResponse:
        if not send_link(request, account):
            sentence = _("The mail could not be sent. Copy a link instead; the log has the reason.")
            self.message_user(request, sentence, messages.ERROR)
            return self._link_page(request, account)
        self.log_change(request, account, admin_log.LINK_SENT)
        self.message_user(request, _("A one-time link was sent to %(mail)s.") % {"mail": account.email})
        return HttpResponseRedirect(self._page_of(account))

    def _link_page(self, request: HttpRequest, account: User, *, link: str = "") -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("One-time link for %(name)s") % {"name": account.get_username()},
            "opts": self.opts,
            "account": account,
            "link": link,
            "days": days_valid(),
            "can_send": _can_send(account),
            "send_url": reverse(f"{self.admin_site.name}:auth_user_link", args=(account.pk,)),
            "back": self._page_of(account),
        }
        response = TemplateResponse(request, "accounts/link.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _page_of(self, account: User) -> str:
        return reverse(f"{self.admin_site.name}:auth_user_change", args=(account.pk,))


def _can_send(account: User) -> bool:
    return mail_is_configured() and bool(account.email)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, PermissionsAdmin):
    """Groups. Those that others depend on cannot be deleted."""

    owner = "group"
    fields = ("name", "permissions")
    change_form_outer_before_template = "accounts/group_note.html"

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """One at a time, from the group's page, and only if nothing depends on it."""
        return obj is not None and not _use_of(obj) and super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        return (*fields, "name") if obj and obj.name in GROUPS else fields

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if group := context.get("original"):
            context["group_note"] = _use_of(group)
        return super().render_change_form(request, context, *args, **kwargs)


def _use_of(group: Group) -> str:
    """Why the group cannot be deleted; empty if it can."""
    if group.name in GROUPS:
        return _(
            "This group comes with the program, and the next update would create it again: you can change"
            " its permissions, but not delete or rename it."
        )
    number = group.user_set.count()
    if not number:
        return ""
    return ngettext(
        "%(count)s account has its permissions from this group. Take it out of the group to delete it.",
        "%(count)s accounts have their permissions from this group. Take them out of the group to delete it.",
        number,
    ) % {"count": f"{number:,}"}
