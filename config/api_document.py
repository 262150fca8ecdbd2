"""The page that shows the HTTP API's document."""

from __future__ import annotations

from ninja.openapi.docs import ABS_TPL_PATH, Swagger


class ApiDocument(Swagger):
    """The page with scripts of this server.

    django-ninja does so only as an installed app, and then every command loads its code, which takes a
    quarter of the job's start. `config.settings` names the folders of its templates and scripts.
    """

    template_cdn = str(ABS_TPL_PATH / "swagger.html")
