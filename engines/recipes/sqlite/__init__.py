"""The runbook's SQLite recovery: its plans, and the work behind each step."""

from engines.recipes.sqlite.recipe import SqliteRecipe

__all__ = ["SqliteRecipe"]
