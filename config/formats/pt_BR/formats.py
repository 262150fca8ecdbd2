"""Formats of dates and times in the admin in Brazilian Portuguese, with the time zone."""

DATE_FORMAT = "d/m/Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "d/m/Y, H:i T"
