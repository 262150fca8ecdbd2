"""Rows that the database refuses to update, spread over many batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from engagement.models import UserEngagementState
from tests.acceptance.due import due_users
from tests.acceptance.invariants import assert_invariants
from tests.acceptance.rows import Snapshot, take_snapshot
from tests.acceptance.runs import finish, run_of, run_to_the_end
from tests.acceptance.seeding import seeded
from tests.database import fail_moves_of, heal
from tests.factories import NOW

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

    import psycopg

    from tests.acceptance.conftest import Size

POISONED: Final = 15


def poison_some(before: Snapshot, chance: Random) -> set[UUID]:
    """Make the transitions of some due users fail: users of every check, some of them neighbours."""
    due = sorted(due_users(before, now=NOW).items(), key=lambda item: (item[1], item[0]))
    step = len(due) // (POISONED - 1)
    chosen = [user_id for user_id, _ in due[chance.randrange(step) :: step]]
    neighbour = next(user_id for user_id, _ in due if user_id not in chosen)
    poisoned = {*chosen, neighbour}
    fail_moves_of(*UserEngagementState.objects.filter(user_id__in=poisoned))
    return poisoned


@pytest.mark.parametrize("workers", [1, 3])
def test_exactly_the_poisoned_users_fail_and_stay_as_they_were(
    onlooker: psycopg.Connection, size: Size, chance: Random, workers: int
) -> None:
    before = seeded(onlooker, due=size.due)
    poisoned = poison_some(before, chance)
    outcome = run_to_the_end("--batch-size", str(size.batch), "--workers", str(workers))
    assert (outcome.code, outcome.json["status"]) == (3, "partial")
    assert {error["user_id"] for error in outcome.json["errors"]} == set(map(str, poisoned))
    assert len(outcome.json["errors"]) == len(poisoned)
    between = take_snapshot(onlooker)
    assert_invariants(before, between, [run_of(outcome)], poisoned=poisoned)
    heal()
    cured = finish()
    assert (cured.code, cured.json["succeeded"]) == (0, len(poisoned))
    assert_invariants(between, take_snapshot(onlooker), [run_of(cured)])
