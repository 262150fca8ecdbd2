"""The URLs. Importing this module loads the code that only a web server needs."""

from axes.apps import AppConfig as LoginThrottling
from django.contrib import admin
from django.urls import include, path
from django.utils.translation import gettext_lazy as _
from django.views.generic import RedirectView
from ninja.openapi.docs import ABS_TPL_PATH, Swagger

from config.admin import accounts  # noqa: F401  registers them
from engagement.api.views import api


class ApiDocument(Swagger):
    """The page that shows the HTTP API's document, with scripts of this server.

    django-ninja does so only as an installed app, and then every command loads its code, which takes a
    quarter of the job's start. `config.settings` names the folders of its templates and scripts.
    """

    template_cdn = str(ABS_TPL_PATH / "swagger.html")


LoginThrottling.initialize()
admin.autodiscover()
admin.site.index_title = _("Dashboard")
api.docs = ApiDocument()

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", include("config.admin.passwords")),
    path("admin/", admin.site.urls),
    path("", include("engagement.api.urls")),
]
