"""A stand-in for WhatsApp, for development, demonstrations and tests."""
