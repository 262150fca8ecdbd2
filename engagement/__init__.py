"""The daily re-engagement job of a WhatsApp assistant."""

__version__ = "0.1.0"
