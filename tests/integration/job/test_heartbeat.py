"""A monitoring service is told when a run starts and how it ends. Real HTTP."""

from __future__ import annotations

import json
import signal
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest
from django.db import connection

import engagement
from engagement.services.job import heartbeat
from engagement.services.job.heartbeat import ping_url
from engagement.services.resilience.stop import StopRequest
from tests.database import closed_gate, execute, fail_moves_of, wait_at_gate, wait_for_somebody_at_the_gate
from tests.factories import NOW, make_users
from tests.heartbeat_server import (
    Service,
    answer_byte_by_byte,
    healthy_service,
    never_answer,
    reset,
    sick_service,
    talk_nonsense,
)
from tests.logged import logged_events
from tests.running import run_job, run_process, start_process

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from pytest_django.fixtures import Settings

JOB_ID: Final = UUID("01a20973-e405-7045-8100-fd34dcbb7270")
SICK: Final = {
    "never answers": (never_answer, "no answer within 2.5 seconds"),
    "resets": (reset, "Connection reset by peer"),
    "talks nonsense": (talk_nonsense, "BadStatusLine"),
    "byte by byte": (answer_byte_by_byte, "no answer within 2.5 seconds"),
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    with healthy_service() as service:
        settings.ENGAGEMENT_HEARTBEAT_URL = service.url
        yield service


def kinds(service: Service) -> list[str]:
    return [ping.path.removeprefix("/ping/secret-id") for ping in service.pings]


def complaints(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    mine = logged_events(caplog, name="engagement_heartbeat_failed")
    return [(message["ping"], message["error"]) for message in mine]


@pytest.mark.django_db
def test_good_run_pings_start_and_success_under_its_id(service: Service) -> None:
    make_users(2, "silent")
    result = run_job()
    agent = f"engagement/{engagement.__version__}"
    rid = {"rid": [str(result.job_id)]}
    assert service.pings == [
        ("GET", "/ping/secret-id/start", rid, "", agent),
        ("GET", "/ping/secret-id", rid, "", agent),
    ]


@pytest.mark.django_db
def test_run_that_could_not_go_on_says_why(service: Service) -> None:
    make_users(2, "silent")
    execute("ALTER TABLE engagement_state_transitions RENAME TO elsewhere")
    run_job()
    assert kinds(service) == ["/start", "/fail"]
    assert service.pings[-1].method == "POST"
    assert service.pings[-1].body == (
        "Exit code 1. The database cannot be used like this."
        " Check DATABASE_URL and the privileges of its user, and run `manage.py migrate`."
    )


@pytest.mark.django_db
def test_users_who_failed_are_a_failure_and_are_not_named(service: Service) -> None:
    users = make_users(3, "silent")
    fail_moves_of(users[0])
    run_job()
    assert kinds(service) == ["/start", "/fail"]
    assert service.pings[-1].body == "Exit code 3. 1 of 3 users could not be moved; the log names them."


@pytest.mark.django_db
def test_run_that_was_stopped_is_a_failure(service: Service) -> None:
    stop = StopRequest()
    stop.ask(signal.SIGTERM)
    run_job(stop=stop)
    assert kinds(service) == ["/start", "/fail"]
    assert service.pings[-1].body == (
        "Exit code 143. The run was interrupted after 0 users; the next run continues."
    )


@pytest.mark.django_db
def test_safety_limit_is_a_failure(service: Service, settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = 1
    make_users(2, "silent")
    result = run_job()
    assert (kinds(service)[-1], service.pings[-1].body) == (
        "/fail",
        f"Exit code 4. {result.too_large}",
    )


@pytest.mark.django_db
def test_dry_run_sends_no_pings(service: Service) -> None:
    run_job(dry_run=True)
    assert service.pings == []


@pytest.mark.django_db
@pytest.mark.parametrize("redirect", [301, 302, 303, 307, 308])
def test_redirect_is_followed(settings: Settings, redirect: int) -> None:
    make_users(2, "silent")
    execute("ALTER TABLE engagement_state_transitions RENAME TO elsewhere")
    with healthy_service(redirect=redirect) as service:
        settings.ENGAGEMENT_HEARTBEAT_URL = service.url
        result = run_job()
    paths = [ping.path for ping in service.pings]
    assert paths == ["/moved/ping/secret-id/start", "/moved/ping/secret-id/fail"]
    # 303 asks for a GET without a body.
    assert service.pings[-1].body == ("" if redirect == 303 else f"Exit code 1. {result.failure_summary}")


@pytest.mark.django_db
@pytest.mark.parametrize("status", [404, 409, 500])
def test_service_that_refuses_is_logged_and_changes_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    make_users(2, "silent")
    with healthy_service(status=status) as service:
        settings.ENGAGEMENT_HEARTBEAT_URL = service.url
        assert run_job().status == "succeeded"
    assert complaints(caplog) == [("start", f"HTTP status {status}"), ("success", f"HTTP status {status}")]
    # Not tried again.
    assert len(service.pings) == 2


@pytest.mark.django_db
@pytest.mark.parametrize(("treat", "error"), SICK.values(), ids=SICK.keys())
def test_sick_service_delays_a_run_by_a_few_seconds_at_the_most(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    treat: Callable[[socket.socket], None],
    error: str,
) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS_PER_PING", 0.5)
    make_users(2, "silent")
    started_at = monotonic()
    with sick_service(treat) as url:
        settings.ENGAGEMENT_HEARTBEAT_URL = url
        result = run_job()
        # Two pings; the rest is the run's own time, on a machine that may be busy.
        assert monotonic() - started_at < 2 * 0.5 + 4
    assert (result.status, result.succeeded) == ("succeeded", 2)
    assert complaints(caplog) == [("start", error), ("success", error)]
    assert "secret-id" not in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid"])
def test_service_that_is_not_there_is_logged_without_its_address(
    settings: Settings, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    settings.ENGAGEMENT_HEARTBEAT_URL = f"http://{address}/secret-id"
    assert run_job().status == "succeeded"
    assert [ping for ping, _ in complaints(caplog)] == ["start", "success"]
    assert "secret-id" not in caplog.text


@pytest.mark.usefixtures("committed")
def test_network_is_never_touched_inside_a_transaction(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_transaction: list[bool] = []

    def look(_url: str, _body: str | None) -> None:
        in_transaction.append(connection.in_atomic_block or not connection.get_autocommit())

    settings.ENGAGEMENT_HEARTBEAT_URL = "https://example.org/secret-id"
    monkeypatch.setattr(heartbeat, "_send", look)
    make_users(2, "silent")
    run_job()
    assert in_transaction == [False, False]


@pytest.mark.usefixtures("committed")
class TestInAProcessOfItsOwn:
    """As cron starts it."""

    def run(self, *arguments: str, **environment: str) -> Any:
        return run_process("run_engagement_daily", "--json", *arguments, **environment)

    def test_sick_service_changes_neither_result_nor_exit_code(self) -> None:
        make_users(20, "silent")
        with sick_service(never_answer) as url:
            outcome = self.run("--workers", "2", ENGAGEMENT_HEARTBEAT_URL=url)
        assert (outcome.code, outcome.json["succeeded"]) == (0, 20)
        lines = [json.loads(line) for line in outcome.err.splitlines()]
        assert [line["ping"] for line in lines if line["event"] == "engagement_heartbeat_failed"] == [
            "start",
            "success",
        ]
        assert "secret-id" not in outcome.err

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stopped_run_tells_the_service(self, number: signal.Signals) -> None:
        make_users(9, "silent")
        wait_at_gate()
        with healthy_service() as service, closed_gate() as gate:
            process = start_process(
                "run_engagement_daily",
                "--batch-size",
                "3",
                "--workers",
                "1",
                "--now",
                NOW.isoformat(),
                ENGAGEMENT_HEARTBEAT_URL=service.url,
            )
            wait_for_somebody_at_the_gate(gate)
            process.send_signal(number)
            gate.execute("SELECT pg_advisory_unlock_all()")
            process.communicate(timeout=60)
        assert kinds(service) == ["/start", "/fail"]
        assert "interrupted after 3 users" in service.pings[-1].body


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hc-ping.com/id", f"https://hc-ping.com/id/start?rid={JOB_ID}"),
        ("https://hc-ping.com/id/", f"https://hc-ping.com/id/start?rid={JOB_ID}"),
        (
            "https://hc.example.org:8000/ping/key/slug?create=1",
            f"https://hc.example.org:8000/ping/key/slug/start?create=1&rid={JOB_ID}",
        ),
    ],
)
def test_kind_of_a_ping_is_put_behind_the_path(url: str, expected: str) -> None:
    assert ping_url(url, "/start", job_id=JOB_ID) == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("exempt", "pings"), [("other.example.org", ["/start", ""]), ("127.0.0.1,.invalid", [])]
)
def test_proxy_of_the_environment_is_used_unless_the_host_is_exempt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, exempt: str, pings: list[str]
) -> None:
    settings.ENGAGEMENT_HEARTBEAT_URL = "http://monitoring.invalid/ping/secret-id"
    with healthy_service() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/ping/secret-id"))
        monkeypatch.setenv("no_proxy", exempt)
        run_job()
    assert kinds(proxy) == pings
