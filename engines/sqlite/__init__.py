"""Restores SQLite: inspect, stage, prove, swap, undo."""
