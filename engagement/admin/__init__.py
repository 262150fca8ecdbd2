"""What support people and operators see: everything to look up, nothing to break by hand.

base.py         what all lists have in common: read only, searched by user, fast with many rows
paginator.py    pages without counting the whole table
search.py       whom somebody searches for in a list
filters.py      what the theme's filters lack
filter_words.py what a list is filtered by, in words
contacts.py     who may see an address, and what the others see
colors.py       what stands for what
words.py        times and states in words
lists.py        the lists of states, transitions and messages
runs.py         the list of runs
users.py        the list of users
sight.py        what of a user somebody may see
user_page.py    all there is to see of one user
timeline.py     what happened to a user, in the order of time
actions.py      what a person may do by hand, and how they are asked
by_hand.py      the actions themselves
dashboard.py    the front page
"""

from engagement.admin import lists, runs, users  # noqa: F401  registers them
