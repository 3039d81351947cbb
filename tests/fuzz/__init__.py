"""Messages that nobody would send, by the million, and what has to hold for each of them."""
