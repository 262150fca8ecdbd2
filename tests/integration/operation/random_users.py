"""Users of every kind, around every threshold, for tests that compare with the job."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from engagement.states import State
from tests.factories import NOW, TICK, make_user
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement.models import UserEngagementState


compared_with_the_job = settings(
    max_examples=min(60, settings().max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

near = st.sampled_from([-HOUR, -TICK, 0 * TICK, TICK, HOUR])
instants = st.one_of(
    st.builds(
        lambda days, step: NOW + days * DAY + step,
        st.sampled_from([-40, -16, -15, -14, -13, -3, -2, -1, 0, 1, 2, 9]),
        near,
    ),
    st.datetimes(
        min_value=datetime(2025, 12, 1),  # noqa: DTZ001  Hypothesis adds the zone
        max_value=datetime(2026, 3, 20),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
)
jids = st.sampled_from(["99900001@s.whatsapp.net", "99900002@g.us", None, ""])
times = st.none() | instants


def _rows(state: State) -> st.SearchStrategy[dict[str, Any]]:
    """State rows that the constraints accept; a foreign program may have left old timestamps behind."""
    in_goodbye, in_remind_later = state is State.GOODBYE_SENT, state is State.REMIND_LATER
    return st.fixed_dictionaries(
        {
            "state": st.just(state),
            "last_activity_at": instants,
            "goodbye_sent_at": instants if in_goodbye else times,
            "goodbye_expires_at": instants if in_goodbye else times,
            "remind_at": instants if in_remind_later else times,
            "user__whatsapp_jid": jids,
            "user__reengagement_opt_out": st.sampled_from([False, False, True]),
        }
    )


# As many active ones as others: most conditions are theirs.
users = st.sampled_from([State.ACTIVE] * 4 + [*State]).flatmap(_rows)


def make_all(rows: list[dict[str, Any]]) -> list[UserEngagementState]:
    return [make_user(**row) for row in rows]


@contextmanager
def taken_back() -> Iterator[None]:
    """Let what one example does to the tables go, within the transaction of its test."""
    # Not a block of Django's: the job's own transactions have to be the outermost.
    beginning = transaction.savepoint()
    try:
        yield
    finally:
        transaction.set_rollback(False)
        transaction.savepoint_rollback(beginning)
