"""Telemetry: what megaflow counts, for whoever watches it."""
