"""From a queue to the handlers and back: what to do next, and the threads that do it."""
