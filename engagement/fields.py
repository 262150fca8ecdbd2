"""The former module of WrittenField: migration 0003 imports it from here."""

from engagement.postgres import WrittenField

__all__ = ["WrittenField"]
