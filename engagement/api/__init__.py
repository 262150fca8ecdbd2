"""The ways in over HTTP: WhatsApp's webhook, and the API for programs in other languages."""
