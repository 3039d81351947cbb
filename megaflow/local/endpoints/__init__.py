"""Endpoints that get what is published over HTTP: how often, where, signed by whom."""
