"""The API against its own document: requests made up from it, valid and invalid, and the document itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from config.wsgi import application
from engagement.api.views import api
from tests.integration.api.clients import ApiClient
from tests.integration.delivery.sending import told_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "openapi.json"

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def kept_connection() -> Iterator[None]:
    """The application answers in the test's transaction, as for Django's own client."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def document(kept_connection: None) -> Any:
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application)


@pytest.fixture
def client() -> ApiClient:
    told_user()
    return ApiClient()


OPERATIONS: Final = [
    (path, method) for path, methods in api.get_openapi_schema()["paths"].items() for method in methods
]


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_as_the_document_says(
    document: Any, client: ApiClient, path: str, method: str, mode: GenerationMode
) -> None:
    operation = document[path][method.upper()]

    @settings(
        max_examples=min(25, settings().max_examples // 2),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {client.secret}"},
            # Rules about several fields, such as "user_id or number", are in the descriptions alone.
            excluded_checks=[CHECKS.get_one("positive_data_acceptance")],  # type: ignore[list-item]
        )

    check()


def test_the_document_in_the_docs_is_that_of_the_code() -> None:
    assert json.loads(DOCUMENT.read_text()) == json.loads(json.dumps(api.get_openapi_schema()))
