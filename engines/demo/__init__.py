"""The demo: a sandbox with an application of its own, and an incident in it."""
