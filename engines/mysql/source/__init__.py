"""Replays by being a replication source: serves verified logs to the target, whose own applier pulls them."""
