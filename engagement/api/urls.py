"""The API and the webhook: `path("", include("engagement.api.urls"))`."""

from django.urls import path

from engagement.api.views import api
from engagement.api.webhook import whatsapp_webhook

urlpatterns = [
    path("api/v1/", api.urls),
    path("webhooks/whatsapp", whatsapp_webhook),
]
