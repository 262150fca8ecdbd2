"""Pages outside of the log-in: set a password with a one-time link, and ask for one by mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axes.handlers.proxy import AxesProxyHandler
from django.contrib import admin, messages
from django.contrib.auth import views
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from django.contrib.auth.signals import user_login_failed
from django.http import Http404, HttpResponse
from django.urls import path, reverse_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminPasswordWidget

from config.admin.one_time_links import days_valid, mail_is_configured, send_link

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # generic for mypy alone
    """Django's form in the theme's style."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("new_password1", "new_password2"):
            self.fields[name].widget = UnfoldAdminPasswordWidget({"autocomplete": "new-password"})


class SetPasswordView(views.PasswordResetConfirmView):
    """Sets a password with a one-time link, and sends the person to the log-in.

    It does not log in by itself: the log-in counts failed attempts, and is where a second factor belongs.
    """

    template_name = "accounts/set_password.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("admin:login")
    title = gettext_lazy("Set your password")

    def get_user(self, uidb64: str) -> User | None:
        """The account of the link, if it may log in."""
        account: User | None = super().get_user(uidb64)
        return account if account and account.is_active else None

    def form_valid(self, form: SetPasswordForm[User]) -> HttpResponse:
        messages.success(self.request, _("Your password is set. Log in with it."))
        return super().form_valid(form)

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        site = admin.site.each_context(self.request)
        return {**site, "can_reset": mail_is_configured(), **super().get_context_data(**context)}


class ForgottenPasswordForm(PasswordResetForm):
    """Sends the link in our own mail."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["email"].widget = UnfoldAdminEmailInputWidget({"autocomplete": "email"})

    def save(self, *, request: HttpRequest, **_options: Any) -> None:  # type: ignore[override]
        """Send a link to each active account with this address that has a password."""
        for account in self.get_users(self.cleaned_data["email"]):
            send_link(request, account)


class ForgotPasswordView(views.PasswordResetView):
    """Asks for a link by mail. The answer does not say whether there is such an account.

    Each request counts as a failed log-in with this address, so that nobody can flood a mailbox.
    """

    template_name = "accounts/forgot_password.html"
    form_class = ForgottenPasswordForm
    success_url = reverse_lazy("forgot_password_sent")
    title = gettext_lazy("Forgot your password?")

    def dispatch(self, *args: Any, **options: Any) -> HttpResponseBase:
        if not mail_is_configured():
            raise Http404
        return super().dispatch(*args, **options)

    def form_valid(self, form: PasswordResetForm) -> HttpResponse:
        credentials = {"username": form.cleaned_data["email"].lower()[:150]}
        if not AxesProxyHandler.is_allowed(self.request, credentials):
            # The middleware of axes answers instead.
            self.request.axes_locked_out = True  # type: ignore[attr-defined]
            self.request.axes_credentials = credentials  # type: ignore[attr-defined]
            return HttpResponse()
        user_login_failed.send(__name__, credentials=credentials, request=self.request)
        return super().form_valid(form)

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return {**admin.site.each_context(self.request), **super().get_context_data(**context)}


class SentView(views.PasswordResetDoneView):
    """Says that a mail is on its way, if there is such an account."""

    template_name = "accounts/forgot_password_sent.html"
    title = gettext_lazy("Look at your mail")

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        site = admin.site.each_context(self.request)
        return {**site, "days": days_valid(), **super().get_context_data(**context)}


urlpatterns = [
    path("set-password/<uidb64>/<token>/", SetPasswordView.as_view(), name="set_password"),
    path("forgot-password/", ForgotPasswordView.as_view(), name="forgot_password"),
    path("forgot-password/sent/", SentView.as_view(), name="forgot_password_sent"),
]
