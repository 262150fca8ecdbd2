"""The URLs are imported before a test changes settings: their import adds settings of django-axes."""

from config import urls

__all__ = ["urls"]
