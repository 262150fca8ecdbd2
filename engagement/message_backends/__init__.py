"""How one message leaves. Nothing here knows the database."""
