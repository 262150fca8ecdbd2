"""The Django admin: read-only lists and pages, and actions for support people.

read_only_admin.py  what every list shares: search, order, pages, CSV
filters.py          filters that the theme does not have
masking.py          what a staff account may see
labels.py           states and times in words, colours of labels
lists.py            states, transitions, messages, pauses
message_texts.py    the texts of the catalogue and their templates
runs/               runs: list, page, undo
user_list.py        users
user_page.py        one user: state, history, messages
action_views.py     confirmation, execution and report of support actions
support_actions.py  the support actions
api_tokens.py       the tokens of the HTTP API
dashboard/          the dashboard: status, tiles, charts
links.py            URLs of lists and pages
"""

from django.apps import apps

# A project without the theme has Django's own admin, and none of these pages.
if apps.is_installed("unfold"):
    from engagement.admin import api_tokens, lists, manual_actions  # noqa: F401  registers them
    from engagement.admin.messages import message_list  # noqa: F401
    from engagement.admin.people import old_states, user_list  # noqa: F401
    from engagement.admin.runs import run_list  # noqa: F401
