"""The tables: columns, constraints and indexes. There are no rules and no save() methods here."""

from engagement.models.choices import GOOD, Destination, MessageStatus, MessageType, RunStatus
from engagement.models.messages import EngagementMessage
from engagement.models.runs import EngagementJobRun
from engagement.models.users import VISIBLE, EngagementStateTransition, UserEngagementState, UserProfile
from engagement.postgres import MessageInsert

__all__ = [
    "GOOD",
    "VISIBLE",
    "Destination",
    "EngagementJobRun",
    "EngagementMessage",
    "EngagementStateTransition",
    "MessageInsert",
    "MessageStatus",
    "MessageType",
    "RunStatus",
    "UserEngagementState",
    "UserProfile",
]
