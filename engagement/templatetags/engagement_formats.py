"""`{{ run.moved|number_text }}`, `{{ run.started_at|shown_time }}`: numbers and times as everywhere."""

from __future__ import annotations

from django import template

from engagement.formatting import number_text
from engagement.local_times import shown_short_time, shown_time

register = template.Library()
register.filter("number_text", number_text)
register.filter("shown_time", shown_time)
register.filter("shown_short_time", shown_short_time)
