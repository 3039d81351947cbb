"""Dispatch: from the handlers' patterns to the handlers of one message."""
