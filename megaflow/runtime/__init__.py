"""Runtime: an app as processes, several apps in one, and the port that says how they are."""
