"""The consumer's core: decides what to do next. No I/O, no threads, no clock."""
