"""Random events in the life of a user, and when they happen."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from typing import NamedTuple

from hypothesis import strategies as st

from tests.factories import TICK
from tests.reference.model import TEXTS
from tests.reference.rows import Newcomer
from tests.reference.rules import DAY
from tests.times import HOUR


class Moment(NamedTuple):
    """A period after the present, or after the user's next threshold."""

    period: timedelta
    zone: timezone
    at_threshold: bool = False


periods = st.one_of(
    st.sampled_from([TICK, HOUR, DAY, 2 * DAY, 3 * DAY, 14 * DAY]),
    st.timedeltas(min_value=TICK, max_value=40 * DAY),
)
zones = st.sampled_from([UTC, timezone(14 * HOUR), timezone(-11 * HOUR)])
moments = st.one_of(
    st.builds(Moment, st.just(0 * TICK), zones),
    st.builds(Moment, periods, zones),
    st.builds(Moment, st.sampled_from([0 * TICK, TICK, -TICK]), zones, st.just(value=True)),
    st.builds(Moment, st.sampled_from([-HOUR, -15 * DAY]), zones),
)
jids = st.sampled_from(["99900001@s.whatsapp.net", "99900002@g.us", "99900003@g.us", None, ""])
newcomers = st.builds(
    Newcomer,
    jid=jids,
    destination=st.sampled_from(["individual", "group"]),
    opted_out=st.sampled_from([False, False, True]),
    state=st.sampled_from(["active", "goodbye_sent", "remind_later", "active", "help_flow", None]),
    # Few, so that several fall due together, and many at once.
    for_long=st.sampled_from([15 * DAY, 15 * DAY, 14 * DAY, 2 * DAY, HOUR]),
)
few = st.one_of(st.none(), st.integers(1, 3))
texts = st.sampled_from(TEXTS)
# The clock of the program that received a message may be ahead of ours.
leads = st.sampled_from([0 * TICK, 0 * TICK, 0 * TICK, TICK, HOUR])
