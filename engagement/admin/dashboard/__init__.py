"""The dashboard: whether all is well, counts with links to their lists, charts, the last runs."""
