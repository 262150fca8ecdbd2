"""The Django admin: read-only lists and pages, and actions for support people.

read_only_admin.py  what every list shares: search, order, pages, export
change_list.py      orders with an index, bounded pages, quick links
rows_of_users.py    lists whose rows belong to a user each
export.py           a list as CSV: the button, the action, the file in chunks
filters.py          filters that the theme does not have
masking.py          what a staff account may see
labels.py           states and times in words, colours of badges
links.py            URLs of lists and pages
lists.py            transitions, pauses
people/             users: list, page, names
messages/           messages: list, page; the texts of the catalogue
runs/               runs: list, page, undo
manual_actions.py   what the team did; admin_log.py: how it is recorded
action_views.py     confirmation, execution and report of support actions
support_actions.py  the support actions
api_tokens.py       the tokens of the HTTP API
dashboard/          the dashboard: status, tiles, charts
"""

from django.apps import apps

# A project without the theme has Django's own admin, and none of these pages.
if apps.is_installed("unfold"):
    from engagement.admin import api_tokens, lists, manual_actions  # noqa: F401  registers them
    from engagement.admin.messages import message_list  # noqa: F401
    from engagement.admin.people import user_list  # noqa: F401
    from engagement.admin.runs import run_list  # noqa: F401
