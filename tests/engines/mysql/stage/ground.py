"""A live schema, and a changed copy of it staged beside it, ready to be swapped; and what both look like as dumps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engines.mysql.connect import close, connect
from engines.mysql.dumps.facts import read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Job, load
from engines.mysql.stage import account, code, schema
from engines.mysql.stage.names import Names, names
from engines.mysql.stage.objects import make_code
from engines.mysql.stage.steps import Swap
from engines.mysql.stage.swap import plan
from tests.engines.mysql.schemas import everything
from tests.servers.databases import Server

WHOLE = ("--routines", "--events", "--triggers", "--order-by-primary", "--skip-dump-date", "--skip-lock-tables")
TOKEN = "7f3a"  # noqa: S105 - of a session: no secret
SESSION = "2026-11-22T20-04-11Z-production-7f3a"

# What is in the live schema besides: two that the new one has not, a broken habit of naming, an event that is on.
OLDER = """
CREATE TABLE ghost (id int NOT NULL PRIMARY KEY); INSERT INTO ghost VALUES (1);
CREATE VIEW ghostly AS SELECT id FROM ghost;
CREATE PROCEDURE forgotten() SELECT 1;
CREATE TRIGGER ghost_added AFTER INSERT ON ghost FOR EACH ROW SET @ghosts = 1;
CREATE EVENT hourly ON SCHEDULE EVERY 1 HOUR STARTS '2030-01-01 00:00:00' ENABLE DO SET @hour = 1;
"""
# What the new one has instead.
NEWER = """
INSERT INTO users (email, name) VALUES ('new@example.com', 'New');
DELETE FROM no_key LIMIT 1;
ALTER TABLE latin ADD COLUMN more int;
CREATE TABLE fresh (id int NOT NULL PRIMARY KEY, user_id bigint unsigned,
  CONSTRAINT fresh_user FOREIGN KEY (user_id) REFERENCES users (id)); INSERT INTO fresh VALUES (1, 1);
CREATE OR REPLACE VIEW first_view AS SELECT id, name, note FROM users;
CREATE VIEW a_view_of_fresh AS
  SELECT f.id, twice(f.id) AS two, v.note FROM fresh f JOIN first_view v ON v.id = f.user_id;
DROP FUNCTION twice;
CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n + n;
DROP TRIGGER users_again;
CREATE TRIGGER fresh_added BEFORE INSERT ON fresh FOR EACH ROW SET NEW.id = NEW.id + 0;
CREATE DEFINER = 'nobody'@'nowhere' PROCEDURE orphaned() SELECT 'é';
ALTER EVENT nightly ENABLE;
CREATE EVENT weekly ON SCHEDULE EVERY 1 WEEK STARTS '2030-01-01 00:00:00' DISABLE DO SET @week = 1;
"""


@dataclass(slots=True)
class Ground:
    server: Server
    names: Names
    dump: Path
    staged: code.StagedCode
    old: bytes  # the live schema's dump before
    new: bytes  # what it has to be after
    swap: Swap = field(init=False)

    def plan(self, **wanted: bool) -> Swap:
        connection = connect(self.server.place, self.server.login)
        try:
            self.swap = plan(connection, self.names, SESSION, staged=self.staged, **wanted)
        finally:
            close(connection)
        return self.swap

    def live(self) -> bytes:
        return dumped(self.server, self.names.live)

    def dress(self) -> None:
        """Put the triggers on the staged tables again, which a swap took off and its undo leaves off."""
        connection = connect(self.server.place, self.server.login, database=self.names.stage)
        listed = f"SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '{self.names.stage}'"
        there = {row[0] for row in self.server.sql(listed)}
        for one in self.swap.new:
            if one.kind == "TRIGGER" and one.name not in there:
                make_code(connection, one)
        close(connection)


def dumped(server: Server, schema: str) -> bytes:
    """The schema as a dump without dates, its own name taken out."""
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    return server.dump(*WHOLE, *plain, schema).replace(schema.encode(), b"SCHEMA")


def staged(server: Server, folder: Path, *, older: str = OLDER, newer: str = NEWER, base: str | None = None) -> Ground:
    """Make both: the live one by the client program, the new one by way of a dump and the staged load."""
    live, source = server.new_schema("shop"), server.new_schema("source")
    made = everything(server.flavour) if base is None else base
    utf8 = "--default-character-set=utf8mb4"
    server.script(made + scripted(older), live, utf8)
    server.script(made + scripted(newer), source, utf8)
    dump = folder / f"{source}.sql"
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    dump.write_bytes(server.dump(*WHOLE, *plain, source))
    ground = Ground(server, names(live, TOKEN), dump, code.StagedCode(), dumped(server, live), dumped(server, source))
    bring(ground, source)
    return ground


def bring(ground: Ground, source: str) -> None:
    """The staged load, as a session does it."""
    server = ground.server
    connection = connect(server.place, server.login)
    try:
        schema.prepare(connection, ground.names, SESSION)
        login = account.make(connection, ground.names, SESSION, server.login, server.flavour)
        rows = {table.name: table.rows for table in read_facts(ground.dump).tables}
        load(Job(dump=ground.dump, place=server.place, login=login, schema=ground.names.stage, source=source, rows=rows,
                 code=False))  # fmt: skip
        ground.staged = code.make(connection, ground.names, SESSION, ground.dump, source=source)
        account.drop(connection, ground.names, SESSION)
    finally:
        close(connection)


def scripted(statements: str) -> str:
    """For the client program, after a script that left its settings behind."""
    return f"\nDELIMITER ;\n{statements}"
