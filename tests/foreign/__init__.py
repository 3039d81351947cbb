"""Clients of other makers against the embedded server, each in an environment of its own."""
