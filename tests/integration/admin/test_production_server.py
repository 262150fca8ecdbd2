"""gunicorn with production settings, static files and a TLS proxy in front, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from tests.running import PROJECT, database_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

PRODUCTION: Final = {
    "DEBUG": "off",
    "SECRET_KEY": "a-long-secret-that-only-this-test-uses-0123456789",
    "ALLOWED_HOSTS": "127.0.0.1",
    "BEHIND_TLS_PROXY": "on",
}
LISTENING: Final = re.compile(r"Listening at: (\S+)")


class _Stay(HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: object) -> None:
        return None


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Message
    text: str


def get(url: str, **headers: str) -> Answer:
    """Return the response to a request, also if it is an error."""
    try:
        response = build_opener(_Stay).open(Request(url, headers=headers), timeout=30)  # noqa: S310  our own
    except HTTPError as error:
        response = error
    with response:
        return Answer(response.status, response.headers, response.read().decode("utf-8", "replace"))


@pytest.fixture
def server(transactional_db: None) -> Iterator[str]:
    """The address of a server with production settings."""
    environment = {**os.environ, **PRODUCTION, "DATABASE_URL": database_url()}
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"]
    subprocess.run(collect, cwd=PROJECT, env=environment, check=True)
    serve = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind=127.0.0.1:0", "--workers=1"]
    with subprocess.Popen(serve, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := LISTENING.search(line):
                yield found[1]
                break
        process.terminate()
        process.stderr.read()
    assert found, "".join(lines)


def test_pages_have_static_files_and_security_headers(server: str) -> None:
    plain = get(f"{server}/admin/login/")
    assert (plain.status, plain.headers["Location"].split(":")[0]) == (301, "https")
    page = get(f"{server}/admin/login/", **{"X-Forwarded-Proto": "https"})
    assert page.status == 200
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "Secure" in page.headers["Set-Cookie"]
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert len(files) > 5
    for file in files:
        answer = get(f"{server}{file}", **{"X-Forwarded-Proto": "https", "Accept-Encoding": "gzip"})
        assert answer.status == 200, file
        if file.endswith((".css", ".js")):
            assert answer.headers["Content-Encoding"] == "gzip", file
    answer = get(f"{server}/nothing", **{"X-Forwarded-Proto": "https"})
    assert answer.status == 404
    assert "Page not found" in answer.text
