"""Checks that the result of a run adds up and agrees with the tables."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tests.reference.rules import due_check

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from uuid import UUID

    from tests.acceptance.rows import Snapshot

ERRORS_IN_RESULT: Final = 100
ENDED: Final = {"succeeded", "partial"}
"""The statuses of a run that was not cut short."""


def wrong_in_counts(result: Mapping[str, Any], moved: Counter[tuple[str | None, str]]) -> Iterator[str]:
    """`moved`: how many transitions the audit log has for each run and check."""
    job_id, failures = result["job_id"], Counter(error["check_type"] for error in result["errors"])
    for name, counts in result["checks"].items():
        if counts["succeeded"] != moved[job_id, name]:
            yield f"{name} counts {counts['succeeded']} moved, the tables say {moved[job_id, name]}"
        if counts["processed"] != counts["succeeded"] + counts["failed"]:
            yield f"{name}: processed is not succeeded + failed: {counts}"
        if counts["failed"] != failures[name] and len(result["errors"]) < ERRORS_IN_RESULT:
            yield f"{name} counts {counts['failed']} failed and names {failures[name]}"
    for key in ("processed", "succeeded", "failed", "skipped"):
        if result[key] != sum(counts[key] for counts in result["checks"].values()):
            yield f"{key} is not the sum of the checks: {result}"
    if result["skipped"] != sum(result["skipped_by_reason"].values()):
        yield f"skipped is not the sum of its reasons: {result}"


def wrong_in_failures(result: Mapping[str, Any], *, blamable: Collection[UUID]) -> Iterator[str]:
    """`blamable`: the due users whom the database refused to move."""
    innocent = {error["user_id"] for error in result["errors"]} - {str(user_id) for user_id in blamable}
    if innocent:
        yield f"{len(innocent)} users failed without a fault of theirs: {result['errors'][:3]}"
    ended = result["status"] in ENDED
    if ended and result["status"] != ("partial" if result["failed"] else "succeeded"):
        yield f"status {result['status']} with {result['failed']} failed"
    if ended and result["failed"] != len(blamable):
        yield f"{result['failed']} failed, but {len(blamable)} could not be moved"


def wrong_in_skipped(result: Mapping[str, Any], before: Snapshot) -> Iterator[str]:
    """A run that was cut short may not have counted them."""
    if result["status"] not in ENDED:
        return
    now = datetime.fromisoformat(result["now"])
    silent = [
        before.profiles[user.user_id]
        for user in before.states.values()
        if due_check(user, now=now) == "inactivity_14d"
    ]
    opted_out = sum(profile.reengagement_opt_out for profile in silent)
    unreachable = sum(not (profile.reengagement_opt_out or profile.whatsapp_jid) for profile in silent)
    if result["skipped_by_reason"] != {"opted_out": opted_out, "no_destination": unreachable}:
        yield f"{result['skipped_by_reason']} skipped, not {opted_out} and {unreachable}"
