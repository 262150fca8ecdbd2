"""Sending what is due: in this process, or by several workers that share the queue."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from django.db import Error as DatabaseError
from django.utils.timezone import now as timezone_now

from engagement.conf import METRICS_FILE, engagement_settings, raw_setting, statement_timeout
from engagement.models import MessageType
from engagement.selectors import deliveries
from engagement.selectors.deliveries import EVERYTHING, Share
from engagement.services.delivery.capacity import interval_of, queue_hint
from engagement.services.delivery.channels import current_pause, paused_templates, release_slot
from engagement.services.delivery.claim import CAP_PERIOD, ClaimTerms, Eligible, preview
from engagement.services.delivery.outcomes import Ending
from engagement.services.delivery.recheck import Cancel, Hold
from engagement.services.delivery.result import MessageEnding, SendCounts, SendResult, SendStatus
from engagement.services.delivery.settings import delivery_settings
from engagement.services.delivery.worker import Worker
from engagement.services.job.result import Outcome, log_completed, outcome_of
from engagement.services.resilience.deadline import statement_deadline
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopRequest, StopTogether
from engagement.services.resilience.workers import divided, run_workers, tell_at_once
from engagement.services.suppression import refuse_without_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from engagement.message_backends.base import MessageBackend
    from engagement.selectors.deliveries import Candidate
    from engagement.services.delivery.channels import Paused
    from engagement.services.delivery.settings import DeliverySettings
    from engagement.services.job.progress import RunListener
    from engagement.services.resilience.workers import Tell

CLAIM_MARGIN: Final = timedelta(seconds=60)
"""Time between the end of a call to the backend and the end of the claim, to record the outcome."""
METRICS_SECONDS: Final = 60.0
"""How often a sender at work writes the metrics file."""
POLL_SECONDS: Final = 1.0
"""How soon a watching sender notices a message that has become due."""

log = structlog.get_logger("engagement")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """What is asked of a sender."""

    backend: MessageBackend
    limit: int | None = None
    """The most messages that are given to the backend."""
    workers: int = 1
    watch: bool = False
    """Go on until a stop is asked for."""
    dry_run: bool = False
    now: datetime | None = None
    """What is due, the hours and the recheck go by this time; slots, pauses and claims by the clock."""
    delivery: DeliverySettings | None = None
    """Other settings than those of the environment."""


def send_messages(
    *, request: SendRequest, stop: StopRequest | None = None, progress: RunListener | None = None
) -> SendResult:
    """Send the messages that are due, each at most once.

    Transaction: several for each message, none while the backend works; must not be called inside another.
    Several workers are threads, each with its own connection.
    Repeatable, also at the same time and after a crash: a message that was claimed is not due any more,
    and one whose outcome was lost becomes `unknown`.
    Raises ImproperlyConfigured for impossible settings. Anything else that stops the sender ends it as
    failed, with the reason in `failure`.
    """
    return _Sender(request, stop=stop or StopRequest(), progress=progress).carry_out()


class _Sender:
    """One call of the sender."""

    def __init__(self, request: SendRequest, *, stop: StopRequest, progress: RunListener | None) -> None:
        self._request = request
        self._settings = engagement_settings()
        self._delivery = request.delivery or delivery_settings()
        self._stop = stop
        self._progress = progress
        self._together = StopTogether(stop)
        self._retries = RetryPolicy.of(self._settings, stop=stop)
        self._started = self._metrics_at = time.monotonic()
        self._counts = SendCounts()
        self._paused: Paused | None = None
        self._due = 0
        self._now: datetime | None = request.now
        self._shift = timedelta()
        self._unclaimable: set[UUID] = set()
        self._unused_slots: list[datetime] = []

    def carry_out(self) -> SendResult:
        outcome = outcome_of(self._begin, stop=self._stop)
        if outcome.is_complete:
            outcome = self._run()
            self._give_slots_back()
        if not outcome.failure:
            with suppress(DatabaseError):
                self._paused = self._paused or self._retries.read(self._current_pause)
        result = self._result(outcome)
        log_completed(
            "engagement_sending_completed",
            status=result.status.value,
            failure=result.failure,
            backend=result.backend,
            dry_run=result.dry_run,
            due=result.due,
            **result.numbers(),
            duration_ms=result.duration_ms,
        )
        return result

    def _begin(self) -> bool:
        self._retries.read(refuse_without_key)
        clock = self._retries.read(deliveries.database_now)
        self._now = self._request.now or clock
        self._shift = self._now - clock
        self._due = self._retries.read(deliveries.due_messages(self._delivery.types, now=self._now).count)
        if self._progress:
            self._progress.due_counted(self._due)
        return True

    def _run(self) -> Outcome:
        if self._request.dry_run:
            return outcome_of(self._preview, stop=self._stop)
        # By another time what must wait stays due: several workers would all find it.
        if self._request.workers == 1 or self._request.now:
            outcome, self._paused = self._work(
                self._request.limit, EVERYTHING, tell_at_once, tick=self._write_metrics
            )
            return outcome
        return self._run_workers()

    def _give_slots_back(self) -> None:
        """So that senders that are started again and again do not push sending ever further away."""
        backend = self._request.backend
        interval = interval_of(backend, self._delivery)
        with suppress(DatabaseError):
            for slot in sorted(self._unused_slots, reverse=True):
                release_slot(backend=backend.name, begins_at=slot, interval=interval)

    def _run_workers(self) -> Outcome:
        limits = divided(self._request.limit, self._request.workers)
        works = [
            partial(self._work, limit, Share(number, len(limits))) for number, limit in enumerate(limits)
        ]
        results: list[tuple[Outcome, Paused | None]] = []

        def send() -> bool:
            # A sender that watches must not go on with one worker for ever: what watches it starts it again.
            finish_here = not self._request.watch
            results.extend(
                run_workers(works, stop=self._stop, on_poll=self._write_metrics, finish_here=finish_here)
            )
            return all(outcome.is_complete for outcome, _ in results)

        together = outcome_of(send, stop=self._stop)
        self._paused = next((paused for _, paused in results if paused), None)
        return next((outcome for outcome, _ in results if outcome.failure), together)

    def _work(
        self, limit: int | None, share: Share, tell: Tell, *, tick: Callable[[], None] = lambda: None
    ) -> tuple[Outcome, Paused | None]:
        """The life of one worker, in this thread or in one of its own."""
        worker = Worker(
            backend=self._request.backend,
            terms=self._terms(),
            share=share,
            retries=self._retries,
            stop=self._together,
            shift=self._shift,
            report=lambda ending: tell(partial(self._take, ending)),
            tick=tick,
        )
        outcome = outcome_of(partial(self._loop, worker, limit), stop=self._stop)
        if outcome.failure and share.of > 1:
            log.error("engagement_sender_worker_failed", error=outcome.failure)
            # The others end, too: what watches the process starts it again, with all workers.
            self._together.is_over = self._request.watch
        if worker.unused_slot:
            self._unused_slots.append(worker.unused_slot)
        return outcome, worker.paused

    def _loop(self, worker: Worker, limit: int | None) -> bool:
        """Send until nothing is due; with `watch`, until a stop is asked for. Whether it came to its end."""
        with statement_deadline(statement_timeout()):
            while True:
                attempted = worker.run(limit=limit)
                if limit is not None:
                    limit -= attempted
                if self._together.is_set():
                    return False
                if not self._request.watch or limit == 0:
                    return True
                if not attempted:
                    self._together.wait(POLL_SECONDS)

    def _write_metrics(self) -> None:
        """Write the metrics file once a minute, in the thread of the caller."""
        is_due = time.monotonic() - self._metrics_at >= METRICS_SECONDS
        if not is_due or not raw_setting(METRICS_FILE):
            return
        # Here, so that a sender without metrics does not load their library.
        from engagement.services.metrics import write_metrics

        self._metrics_at = time.monotonic()
        write_metrics()

    def _preview(self) -> bool:
        terms, read = self._terms(), self._retries.read
        clock, channels = read(partial(deliveries.clock_and_channels, self._request.backend.name))
        now, pauses = clock + self._shift, paused_templates(channels, now=clock)
        has_place = read(partial(self._places, clock))
        for candidate in deliveries.candidates(self._delivery.types, clock=lambda: now, read=read):
            if self._stop.is_set():
                return False
            if self._counts.sent == self._request.limit:
                return True
            match self._retries.retry(partial(preview, candidate, terms=terms, pauses=pauses, now=now)):
                case Eligible() if has_place(candidate):
                    self._take(MessageEnding("sent"))
                case Eligible() | Hold():
                    self._take(MessageEnding("waiting"))
                case Cancel():
                    self._take(MessageEnding("cancelled"))
        return True

    def _places(self, clock: datetime) -> Callable[[Candidate], bool]:
        """Whether the daily cap still has a place for a message; a dry run claims none."""
        cap = self._delivery.daily_cap
        left = cap - deliveries.people_sent_to(since=clock - CAP_PERIOD) if cap else 0
        people: set[UUID] = set()

        def has_place(candidate: Candidate) -> bool:
            if not cap or candidate.message_type == MessageType.REPLY:
                return True
            if len(people) < left:
                people.add(candidate.user_id)
                return True
            return False

        return has_place

    def _current_pause(self) -> Paused | None:
        return current_pause(self._request.backend.name, now=deliveries.database_now())

    def _take(self, ending: MessageEnding) -> None:
        if ending.name == Ending.WAITING and ending.error:
            # Each worker finds a message that nobody can claim.
            if ending.error.message_id in self._unclaimable:
                return
            self._unclaimable.add(ending.error.message_id)
        self._counts.add(ending)
        if self._progress:
            self._progress.users_done(1)

    def _terms(self) -> ClaimTerms:
        return ClaimTerms(
            backend=self._request.backend.name,
            length=self._request.backend.max_call + CLAIM_MARGIN,
            goodbye_wait=self._settings.policy.goodbye_wait,
            settings=self._delivery,
            lock_timeout=self._settings.lock_timeout,
        )

    def _result(self, outcome: Outcome) -> SendResult:
        return SendResult(
            backend=self._request.backend.name,
            now=self._now or timezone_now(),
            dry_run=self._request.dry_run,
            status=self._status(outcome),
            due=self._due,
            counts=self._counts,
            paused_until=self._paused.until if self._paused else None,
            pause_reason=self._paused.reason if self._paused else None,
            failure=outcome.failure,
            hint=None if outcome.failure else self._hint(),
            signal_number=self._stop.signal_number,
            duration_ms=round((time.monotonic() - self._started) * 1000),
        )

    def _status(self, outcome: Outcome) -> SendStatus:
        if outcome.failure:
            return SendStatus.FAILED
        if not outcome.is_complete and self._stop.is_set():
            return SendStatus.INTERRUPTED
        if self._paused:
            return SendStatus.PAUSED
        return SendStatus.PARTIAL if self._counts.errors else SendStatus.SUCCEEDED

    def _hint(self) -> str | None:
        """A sentence if more goodbyes are queued than can be sent before their wait ends."""
        with suppress(DatabaseError):
            now = deliveries.database_now() + self._shift
            return self._retries.read(partial(queue_hint, self._request.backend, now=now))
        return None
