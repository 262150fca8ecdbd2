"""`{{ run.started_at|shown_time }}`: a time in the account's time zone, with UTC in the tooltip."""

from __future__ import annotations

from django import template

from engagement.local_times import shown_short_time, shown_time

register = template.Library()
register.filter("shown_time", shown_time)
register.filter("shown_short_time", shown_short_time)
