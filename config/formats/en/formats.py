"""How times look in the admin: the day first, 24 hours, and UTC, as all of this project's are."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = r"j M Y, H:i \U\T\C"
