"""Real consumer processes and the embedded server, killed, stopped and cut off all the while, under one seed."""
