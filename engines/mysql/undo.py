"""Puts a schema back from its safety snapshot: emptied, loaded, its default set as it was. Comparing is `same`'s."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.children import Child
from engines.errors import Refused, RestoreError
from engines.hooks import Stop, never
from engines.mysql.client_load import load_by_client
from engines.mysql.connect import Login, Place
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.load.loader import Hooks, Job, Loaded, load
from engines.mysql.programs import Program
from engines.mysql.rebuild import Default, clear
from engines.mysql.snapshot import Snapshot
from engines.text import count, drawable


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """An undo as it is asked for."""

    snapshot: Snapshot
    place: Place
    login: Login
    schema: str
    client: Program  # mysql: for what the own loader does not load
    private: Path
    connections: int = 2
    bulk: bool = False  # does the server take LOAD DATA LOCAL?
    binary_log: bool = True


def put_back(
    asked: PutBack,
    hooks: Hooks | None = None,
    *,
    started: Callable[[Child], None] = lambda _child: None,
    last: Callable[[], None] = lambda: None,
) -> Loaded:
    """Make the schema what it was when the snapshot was taken. Safe to begin again from its start.

    The snapshot's bytes are compared with its description and read to their end before anything is dropped; `last` is
    called right before that, and may refuse. Raises Refused where they are not what they were, RestoreError where the
    schema is unfinished: then it is begun again.
    """
    hooks = hooks or Hooks()
    facts = proven(asked.snapshot, stop=hooks.stop)
    job = Job(
        dump=Path(str(asked.snapshot.path)),
        place=asked.place,
        login=asked.login,
        schema=asked.schema,
        source="",
        rows={table.name: table.rows for table in facts.tables},
        connections=asked.connections,
        bulk=asked.bulk,
        binary_log=asked.binary_log,
    )
    default = Default(asked.snapshot.charset, asked.snapshot.collation) if asked.snapshot.charset else None
    last()
    hooks.at("put-back.clear.before")
    clear(job, facts, default, rebuild=True, hooks=hooks)
    hooks.at("put-back.load.before")
    if facts.versioned or facts.no_backslashes:
        # Rows of the past are written under a setting of one session: the own loader has several.
        hooks.say("the snapshot has system-versioned tables: it is loaded by the client program")
        done = load_by_client(job, facts, asked.client, asked.private, hooks, started=started)
    else:
        done = load(job, hooks)
    if asked.snapshot.left_out:
        hooks.say(f"not made again, since they could not be read before either: views {asked.snapshot.left_out}")
    hooks.at("put-back.load.after")
    return done


def proven(snapshot: Snapshot, *, stop: Stop = never) -> DumpFacts:
    """What the snapshot holds, once its bytes have been compared with its description. Raises Refused."""
    if snapshot.path is None:
        raise Refused(
            f"{drawable(snapshot.name)} holds no dump that could be put back. Nothing was changed.",
            "Choose another restore point.",
        )
    try:
        with Path(snapshot.path).open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RestoreError(
            f"The snapshot {drawable(snapshot.path)} can't be read: {error.strerror}. Nothing was changed.",
            "Look at the disk; the binary logs and other backups are listed by `reinstate backups`.",
        ) from error
    if actual != snapshot.sha256:
        raise Refused(
            f"The snapshot {drawable(snapshot.path)} is not the one that was taken: its SHA-256 is {actual[:12]}…, "
            f"and {snapshot.sha256[:12]}… was written down. Nothing was changed.",
            "Find out who changed it; restore another backup.",
        )
    facts = read_facts(Path(snapshot.path), stop=stop)
    if not facts.complete or (snapshot.tables and len(facts.tables) != snapshot.tables):
        raise Refused(
            f"The snapshot {drawable(snapshot.path)} is not whole: {count(len(facts.tables))} tables. "
            "Nothing was changed.",
            "Restore another backup.",
        )
    return facts
