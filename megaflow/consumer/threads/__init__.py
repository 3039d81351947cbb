"""The consumer's threads: carry out what the core decides."""
