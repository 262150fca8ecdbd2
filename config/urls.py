"""The URLs. Importing this module loads the code that only a web server needs."""

from axes.apps import AppConfig as LoginThrottling
from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from config.admin import accounts  # noqa: F401  registers them
from engagement.api.views import api
from engagement.api.webhook import whatsapp_webhook

LoginThrottling.initialize()
admin.autodiscover()
admin.site.index_title = "Dashboard"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("webhooks/whatsapp", whatsapp_webhook),
]
