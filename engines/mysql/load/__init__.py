"""Loads a dump over several connections: rows first, indexes and foreign keys after them."""
