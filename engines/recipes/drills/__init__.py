"""Drills: a restore into a scratch place, by itself, and what is known of a target from those that were made."""
