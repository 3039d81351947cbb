"""Processing: one message through its handlers, to a verdict. No queue, no threads."""
