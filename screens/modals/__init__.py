"""Dialogues over a page. The app pushes them; each one says its own keys, since the footer beneath is not its own."""
