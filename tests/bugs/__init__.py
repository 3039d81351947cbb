"""One file per bug that was found, named after what went wrong."""
