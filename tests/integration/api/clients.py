"""A client of the API with a token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.utils import timezone

from engagement.models import ApiScope
from engagement.services.api_tokens import make_token

if TYPE_CHECKING:
    from collections.abc import Collection


class ApiClient:
    """Sends JSON with a bearer token; returns the status and the parsed answer."""

    def __init__(self, name: str = "assistant", *, scopes: Collection[str] = ApiScope.values) -> None:
        self.token, self.secret = make_token(client=name, scopes=scopes, now=timezone.now())
        self._client = Client()

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return self.ask("post", path, {} if body is None else body, **headers)

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return self.ask("get", path, **headers)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.secret}", **headers}
        values: dict[str, Any] = {"headers": headers}
        if body is not None:
            values |= {
                "data": body if isinstance(body, bytes) else json.dumps(body),
                "content_type": "application/json",
            }
        answer = getattr(self._client, method)(f"/api/v1/{path}", **values)
        return answer.status_code, json.loads(answer.content)
