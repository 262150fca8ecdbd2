"""Sending queued messages, at most once, and recording their outcome."""
