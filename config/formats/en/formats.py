"""How times look in the admin: the day first and 24 hours. They are UTC, as all of this project's are."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j M Y, H:i"
