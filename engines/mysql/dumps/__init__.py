"""Reads dumps: splits them into statements, and says what is in them. Executes nothing."""
