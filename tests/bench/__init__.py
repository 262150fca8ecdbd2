"""How fast the daily job is, beside the least that PostgreSQL needs for the same rows: `make bench`.

Every figure that counts is a ratio of times measured alternately in one go, on the same rows.

    __main__.py    the program: which figures at which size
    tables.py      the rows, made the same for every contender, and proof that all left the same
    contenders.py  who competes
    floor.sql      the least: one statement
    one_by_one.py  a transaction for each user, as it is usually written
    fsm.py         the same with django-fsm-2
    commands.py    the other commands: start, load, undo, explain, forecast
    receiving.py   receive_message, alone and with sixteen callers
    measuring.py   processes, seconds and megabytes
    report.py      the result as a table, as JSON and as a picture
"""
