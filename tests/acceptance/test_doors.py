"""Webhook and API over real sockets: curl, Node.js, many clients at once, and a server that is killed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3
from django.utils import timezone

from engagement.models import ApiScope, EngagementMessage, InboundMessage, MessageType, UserEngagementState
from engagement.services.api_tokens import make_token
from tests.acceptance.web import (
    TLS,
    WebServer,
    number_of,
    signature_of,
    web_server,
    webhook_body,
    webhook_headers,
)
from tests.factories import make_users
from tests.integration.delivery.sending import told_user
from tests.integration.delivery.servers import half, raw_server, reset, whole
from tests.running import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("committed")]

EXAMPLE: Final = PROJECT / "docs" / "examples" / "assistant.mjs"
CLIENTS: Final = 16


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[WebServer]:
    with web_server() as running:
        yield running


def curl(*arguments: str, body: bytes | None = None) -> tuple[int, str]:
    """The status and the body."""
    headers = [each for name, value in TLS.items() for each in ("--header", f"{name}: {value}")]
    sent = ["--data-binary", "@-"] if body is not None else []
    ended = subprocess.run(
        ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *headers, *sent, *arguments],
        input=body,
        capture_output=True,
        check=True,
    )
    text, _, status = ended.stdout.decode().rpartition("\n")
    return int(status), text


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is the client")
def test_curl_as_whatsapp(server: WebServer) -> None:
    user, url = told_user(), f"{server.url}/webhooks/whatsapp"
    EngagementMessage.objects.update(status="sent", sent_at=timezone.now(), claimed_at=timezone.now())
    query = "?hub.mode=subscribe&hub.verify_token=verify-token&hub.challenge=42"
    assert curl(url + query) == (200, "42")
    assert curl(url + query.replace("verify-token", "wrong"))[0] == 403
    body = webhook_body(number_of(user.user), "3", message_id="wamid.A")
    json_type = ("--header", "Content-Type: application/json")
    signed = ("--header", f"X-Hub-Signature-256: {signature_of(body)}")
    assert curl(url, *json_type, body=body)[0] == 403
    assert curl(url, *json_type, *signed, body=body + b" ")[0] == 403
    for _ in range(2):
        assert curl(url, *json_type, *signed, body=body) == (200, "Taken.")
    user.refresh_from_db()
    assert user.state == "dormant"
    assert EngagementMessage.objects.filter(message_type=MessageType.REPLY).count() == 1
    large = b"x" * 5_000_000
    assert curl(url, *signed, body=large)[0] == 413


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is the client")
def test_curl_with_a_token(server: WebServer) -> None:
    (user,) = make_users(1)
    _, secret = make_token(client="curl", scopes=ApiScope.values, now=timezone.now())
    url = f"{server.url}/api/v1/users/{user.user_id}"
    bearer = ("--header", f"Authorization: Bearer {secret}")
    status, text = curl(f"{url}/explanation", *bearer)
    assert (status, json.loads(text)["state"]) == (200, "active")
    status, text = curl(f"{url}/opt-out", *bearer, "--request", "POST")
    assert (status, json.loads(text)["opted_out"]) == (200, True)
    status, text = curl(f"{url}/explanation")
    assert (status, json.loads(text)["error"]["code"]) == (401, "unauthorized")


CHUNKED: Final = ("--header", "Transfer-Encoding: chunked")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is the client")
def test_a_body_in_chunks_is_read(server: WebServer) -> None:
    user = told_user()
    _, secret = make_token(client="curl", scopes=ApiScope.values, now=timezone.now())
    bearer = ("--header", f"Authorization: Bearer {secret}")
    body = json.dumps({"user_id": str(user.user_id), "text": "sair", "message_id": "wamid.A"}).encode()
    url = f"{server.url}/api/v1/inbound-messages"
    status, text = curl(url, *bearer, *CHUNKED, body=body)
    assert (status, json.loads(text)["preference"]) == (200, "opted_out")
    status, text = curl(url, *bearer, *CHUNKED, body=b"x" * 5_000_000)
    assert (status, json.loads(text)["error"]["code"]) == (413, "too_large")
    url, body = (
        f"{server.url}/webhooks/whatsapp",
        webhook_body(number_of(user.user), "oi", message_id="wamid.B"),
    )
    signed = ("--header", f"X-Hub-Signature-256: {signature_of(body)}")
    assert curl(url, *signed, *CHUNKED, body=body) == (200, "Taken.")
    assert curl(url, *signed, *CHUNKED, body=b"x" * 5_000_000)[0] == 413


def test_malformed_chunks_get_400(server: WebServer) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    for chunks in (b"zz\r\nx\r\n0\r\n\r\n", b"5\r\nab"):
        with socket.create_connection((host, int(port)), timeout=10) as client:
            head = "POST /api/v1/leases HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n"
            client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1_000).startswith(b"HTTP/1.1 400 ")


def run_node(*arguments: str, folder: Path, url: str, secret: str) -> subprocess.CompletedProcess[str]:
    """Run a file of a folder that has the example."""
    # A proxy says that TLS was used; without one the address would be https. Seconds are shortened.
    example = EXAMPLE.read_text().replace("headers: {", 'headers: { "x-forwarded-proto": "https",')
    (folder / "assistant.mjs").write_text(example.replace("* 1000)", "* 10)"))
    return subprocess.run(
        ["node", *arguments],
        cwd=folder,
        env={"ENGAGEMENT_URL": url, "ENGAGEMENT_TOKEN": secret, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def node(script: str, folder: Path, *, url: str, secret: str) -> dict[str, Any]:
    """What a script prints that uses the example."""
    (folder / "run.mjs").write_text(
        f'import {{ ask, onMessage, sendWhatIsDue }} from "./assistant.mjs";{script}'
    )
    ended = run_node("run.mjs", folder=folder, url=url, secret=secret)
    assert ended.returncode == 0, ended.stderr
    printed: dict[str, Any] = json.loads(ended.stdout)
    return printed


SCRIPT: Final = """
const sent = [];
const send = async (to, text) => { sent.push({ to, text }); return `wamid.${sent.length}`; };
const due = await sendWhatIsDue(send);
const receivedAt = new Date().toISOString();
const message = { number: "%(number)s", messageId: "wamid.in", text: "2", receivedAt };
const first = await onMessage(message, send);
const again = await onMessage(message, send);
const explanation = await ask("users/%(user)s/explanation");
let failure = "";
try { await ask("leases/%(user)s/outcome", { attempt_id: "%(user)s", outcome: "unknown" }); }
catch (error) { failure = error.message; }
console.log(JSON.stringify({ due, sent, first, again, explanation, failure }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is the client")
def test_the_example_for_node(server: WebServer, tmp_path: Path) -> None:
    user = told_user()
    _, secret = make_token(client="node", scopes=ApiScope.values, now=timezone.now())
    script = SCRIPT % {"number": number_of(user.user), "user": user.user_id}
    result = node(script, tmp_path, url=server.url, secret=secret)
    assert result["due"]["leased"] == 1
    assert [message["to"] for message in result["sent"]] == [user.user.whatsapp_jid, number_of(user.user)]
    assert result["sent"][1]["text"] == result["first"]["reply"]["text"]
    assert (result["first"]["repeat"], result["again"]["repeat"]) == (False, True)
    assert result["explanation"]["state"] == "remind_later"
    assert "409 The message is not leased" in result["failure"]
    message = EngagementMessage.objects.get()
    assert (message.status, message.backend, message.provider_message_id) == ("sent", "api:node", "wamid.1")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is the client")
def test_the_example_for_node_reports_a_message_when_it_is_run(server: WebServer, tmp_path: Path) -> None:
    user = told_user()
    EngagementMessage.objects.update(status="sent", sent_at=timezone.now(), claimed_at=timezone.now())
    _, secret = make_token(client="node", scopes=ApiScope.values, now=timezone.now())

    def run(*arguments: str, secret: str = secret) -> subprocess.CompletedProcess[str]:
        return run_node("assistant.mjs", *arguments, folder=tmp_path, url=server.url, secret=secret)

    answer = json.loads(run(number_of(user.user), "2").stdout)
    assert answer["transition"]["to_state"] == "remind_later"
    wrong = run(number_of(user.user), "oi", secret=secret[:-1])
    assert (wrong.returncode, wrong.stdout, wrong.stderr[:22]) == (1, "", "inbound-messages: 401 ")
    usage = run()
    assert (usage.returncode, usage.stderr[:7]) == (2, "usage: ")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is the client")
def test_the_example_for_node_asks_again_until_it_has_an_answer(tmp_path: Path) -> None:
    answers = iter(
        [
            reset,
            half,
            whole("502 Bad Gateway", b"<html>", "Content-Type: text/html"),
            whole("503 Service Unavailable", b"{}", "Retry-After: 1"),
            whole("200 OK", b'{"leases": [], "paused_until": null}'),
        ]
    )

    def answer(client: socket.socket) -> None:
        next(answers)(client)

    script = "console.log(JSON.stringify(await sendWhatIsDue()));"
    with raw_server(answer) as flaky:
        due = node(script, tmp_path, url=flaky.url, secret="")
    assert due == {"leased": 0, "pausedUntil": None}
    first, *others = (request.partition(b"\r\n\r\n")[2] for request in flaky.requests)
    assert others == [first] * 4


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is the client")
def test_the_example_for_node_asks_only_once_if_a_proxy_refuses(tmp_path: Path) -> None:
    script = "await sendWhatIsDue().catch(({ message }) => console.log(JSON.stringify({ message })));"
    with raw_server(whole("413 Content Too Large", b"<html>")) as proxy:
        error = node(script, tmp_path, url=proxy.url, secret="")["message"]
    assert error.startswith("leases: 413 SyntaxError")
    assert len(proxy.requests) == 1


def deliver(server: WebServer, bodies: Sequence[bytes]) -> None:
    """Send webhooks as WhatsApp does: at once, and again until the answer is 200."""
    pool = urllib3.PoolManager(maxsize=CLIENTS, retries=False)

    def send(body: bytes) -> None:
        headers = webhook_headers(body)
        for _ in range(200):
            try:
                answer = pool.request("POST", f"{server.url}/webhooks/whatsapp", body=body, headers=headers)
            except urllib3.exceptions.HTTPError:
                continue
            if answer.status == 200:
                return
        raise AssertionError("never taken")

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(send, bodies))


def kill_often(server: WebServer) -> None:
    for _ in range(3):
        server.kill_workers()
        sleep(0.5)


def test_nothing_is_lost_or_doubled_when_the_server_is_killed(server: WebServer) -> None:
    users = make_users(60, "dormant")
    bodies = [
        webhook_body(number_of(user.user), "sair", message_id=f"wamid.{number}")
        for number, user in enumerate(users)
        for _ in range(2)
    ]
    with ThreadPoolExecutor(1) as killer:
        killing = killer.submit(kill_often, server)
        deliver(server, bodies)
        killing.result()
    assert set(UserEngagementState.objects.values_list("state", flat=True)) == {"active"}
    assert InboundMessage.objects.count() == len(users)
    replies = EngagementMessage.objects.filter(message_type=MessageType.REPLY)
    assert replies.count() == len(users)
    assert set(replies.values_list("message_key", flat=True)) == {"engagement.reply.opted_out"}
