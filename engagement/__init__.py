"""The daily re-engagement job of a WhatsApp assistant."""

__version__ = "0.2.0"
