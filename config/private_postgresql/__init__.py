"""A Django database backend that brings its own PostgreSQL server, for development without set-up."""
