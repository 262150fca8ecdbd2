"""What stands for what: the labels of the theme for states, messages and runs."""

from __future__ import annotations

from typing import Final

from engagement.models import MessageStatus, RunStatus
from engagement.selectors.job_runs import VANISHED
from engagement.states import State

STATES: Final = {
    State.ACTIVE.label: "success",
    State.GOODBYE_SENT.label: "warning",
    State.HELP_FLOW.label: "info",
    State.REMIND_LATER.label: "primary",
}
MESSAGES: Final = {
    MessageStatus.PENDING.label: "info",
    MessageStatus.SENT.label: "success",
    MessageStatus.FAILED.label: "danger",
}
RUNS: Final = {
    RunStatus.RUNNING.value: "info",
    RunStatus.SUCCEEDED.value: "success",
    RunStatus.PARTIAL.value: "warning",
    RunStatus.FAILED.value: "danger",
    RunStatus.INTERRUPTED.value: "warning",
    VANISHED: "danger",
}
