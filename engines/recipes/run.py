"""The runner's entry: `python -m engines.recipes.run SESSION_FOLDER`. Picks the recipe for the session's engine.

Only that engine's modules are loaded: a runner starts in half the time, and nothing of the other can be in its way.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from engines.config import from_table
from engines.session.events import SessionBegun
from engines.session.main import main
from engines.session.recipe import Recipe
from engines.targets import SqliteTarget


def recipe_for(begun: SessionBegun) -> Recipe:
    target = from_table(begun.target)
    if begun.drill and isinstance(target, SqliteTarget):
        from engines.recipes.sqlite.drill import SqliteDrill

        return SqliteDrill(target)
    if isinstance(target, SqliteTarget):
        from engines.recipes.sqlite import SqliteRecipe

        return SqliteRecipe(target)
    if begun.drill:
        from engines.recipes.mysql.drill import MysqlDrill

        return MysqlDrill(target)
    from engines.recipes.mysql.recipe import MysqlRecipe

    return MysqlRecipe(target)


def lock_for(begun: SessionBegun, folder: Path) -> Path:
    """Beside an SQLite database, under its real name: two names of one database share the lock.

    A schema has no file: its lock is beside the sessions of this machine, and GET_LOCK on the server keeps the other
    machines out. A drill's database is its own: its lock keeps a second drill of the target off, and no restore.
    """
    if begun.drill:
        return folder.parent.parent / f".{begun.target.get('name')}.reinstate.lock"
    if begun.engine == "sqlite":
        real = Path(begun.address).resolve()
        return real.with_name(f".{real.name}.reinstate.lock")
    address = hashlib.sha256(begun.address.encode()).hexdigest()[:16]
    return folder.parent.parent / f".{address}.reinstate.lock"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), recipe_for, lock_for))
