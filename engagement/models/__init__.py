"""The tables: columns, constraints and indexes. There are no rules and no save() methods here."""

from engagement.models.api_tokens import ApiScope, ApiToken
from engagement.models.channels import SendingChannel
from engagement.models.choices import GOOD, IN_DOUBT, Destination, MessageStatus, MessageType, RunStatus
from engagement.models.inbound import InboundMessage
from engagement.models.messages import EngagementMessage
from engagement.models.runs import EngagementJobRun
from engagement.models.suppression import SuppressedAddress
from engagement.models.users import (
    NUMBER,
    VISIBLE,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
    is_address,
)
from engagement.postgres import MessageInsert

__all__ = [
    "GOOD",
    "IN_DOUBT",
    "NUMBER",
    "VISIBLE",
    "ApiScope",
    "ApiToken",
    "Destination",
    "EngagementJobRun",
    "EngagementMessage",
    "EngagementStateTransition",
    "InboundMessage",
    "MessageInsert",
    "MessageStatus",
    "MessageType",
    "RunStatus",
    "SendingChannel",
    "SuppressedAddress",
    "UserEngagementState",
    "UserProfile",
    "is_address",
]
