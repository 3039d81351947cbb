"""Patterns: what a handler asks of a message."""
