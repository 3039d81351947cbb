"""An account in a SQLite file."""
