"""The consumer: its core decides what to do next with a queue's messages, its threads do it."""
