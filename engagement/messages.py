"""What the engine says: the keys of its messages."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from engagement.replies import Preference
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping

GOODBYE: Final = "engagement.goodbye.self_select"
HELP: Final = "engagement.reply.help"
SEE_YOU_IN_TWO_WEEKS: Final = "engagement.reply.see_you_in_two_weeks"
DOOR_IS_OPEN: Final = "engagement.reply.door_is_open"
OPTED_OUT: Final = "engagement.reply.opted_out"
OPTED_IN: Final = "engagement.reply.opted_in"

REPLY_TO_ANSWER: Final[Mapping[str, str]] = MappingProxyType(
    {
        Trigger.GOODBYE_RESPONSE_1.value: HELP,
        Trigger.GOODBYE_RESPONSE_2.value: SEE_YOU_IN_TWO_WEEKS,
        Trigger.GOODBYE_RESPONSE_3.value: DOOR_IS_OPEN,
    }
)
"""What to say to each answer to the goodbye."""

REPLY_TO_PREFERENCE: Final[Mapping[Preference, str]] = MappingProxyType(
    {Preference.OPTED_OUT: OPTED_OUT, Preference.OPTED_IN: OPTED_IN}
)
"""What to say to whoever opts out or in."""
