"""The list of users, the page of one, and how users are named on all other pages.

names.py           a masked number or a short id instead of a UUID
user_list.py       the list
goodbye_fate.py    goodbyes in words
user_page.py       one user: state, history, messages
history.py         the history of that page
"""
