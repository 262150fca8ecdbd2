"""What the guides describe and the code does not have yet. A test fails for each name that it has by now."""

from typing import Final

COMMANDS: Final = frozenset({"check_engagement_runs"})
OPTIONS: Final = frozenset({"--allow-large-run", "--max-age"})
SETTINGS: Final = frozenset(
    {"ENGAGEMENT_MAX_GOODBYES_PER_RUN", "ENGAGEMENT_MAX_GOODBYE_SHARE", "ENGAGEMENT_HEARTBEAT_URL"}
)
EVENTS: Final = frozenset({"engagement_ledger_not_written", "engagement_heartbeat_failed"})
EXIT_CODES: Final = frozenset({4})
SENTENCES: Final = frozenset({"The run would say goodbye to …"})
