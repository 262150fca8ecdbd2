"""Finds the items of a failed batch that cause the failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from engagement.services.resilience.errors import BatchError, ErrorKind, cause_of, error_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engagement.services.resilience.retries import RetryPolicy

T = TypeVar("T")


def bisect_batch(
    items: Sequence[T],
    error: BatchError,
    *,
    attempt: Callable[[Sequence[T], RetryPolicy], object],
    on_failure: Callable[[T, BaseException], None],
    retries: RetryPolicy,
) -> None:
    """After `error`, attempt the two halves of `items`, then the halves of a half that fails, and so on.

    `attempt` gets the items and the retries that it may make; it raises BatchError.
    `on_failure` gets each item that fails alone, with the cause.
    Raises a BatchError that no single item causes: an outage, a missing privilege, a conflict that
    hits both halves, or any conflict after a stop request.
    """
    kind = error_kind(error)
    is_conflict = kind is ErrorKind.CONFLICT
    if kind in {ErrorKind.OUTAGE, ErrorKind.CONFIGURATION} or (is_conflict and retries.stop.is_set()):
        raise error
    if len(items) <= 1:
        for item in items:
            on_failure(item, cause_of(error))
        return
    middle = len(items) // 2
    halves = (items[:middle], items[middle:])
    # After a conflict the whole batch has had its attempts.
    left = retries.without_retries() if is_conflict else retries
    errors = [_error_of(attempt, half, left) for half in halves]
    if all(half_error and error_kind(half_error) is ErrorKind.CONFLICT for half_error in errors):
        raise error
    for half, half_error in zip(halves, errors, strict=True):
        if half_error:
            bisect_batch(half, half_error, attempt=attempt, on_failure=on_failure, retries=retries)


def _error_of(
    attempt: Callable[[Sequence[T], RetryPolicy], object], items: Sequence[T], retries: RetryPolicy
) -> BatchError | None:
    try:
        attempt(items, retries)
    except BatchError as error:
        return error
    return None
