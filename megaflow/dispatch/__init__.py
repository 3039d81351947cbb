"""From the handlers' patterns to the handlers of one message."""
