"""Writers, relays and consumers of a shop, and its PostgreSQL, killed all the while, under one seed."""
