"""Where drills are kept. Apart from the restores, so that `last`, `attach` and a new restore see none."""

from __future__ import annotations

from pathlib import Path

from engines.config import Config

ENVIRONMENT = "drill"  # in a session's name, where a restore has its environment


def drills_folder(config: Config) -> Path:
    """The state folder of drills."""
    return config.state / "drills"
