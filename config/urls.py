"""The URLs. Importing this module loads the code that only a web server needs."""

from axes.apps import AppConfig as LoginThrottling
from django.contrib import admin
from django.urls import include, path
from django.utils.translation import gettext_lazy as _
from django.views.generic import RedirectView

from config.admin import accounts  # noqa: F401  registers them
from config.api_document import ApiDocument
from engagement.api.views import api

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
