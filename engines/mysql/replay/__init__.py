"""Replays proven binary logs into a schema: what exactly, through which programs, and how far it came."""
