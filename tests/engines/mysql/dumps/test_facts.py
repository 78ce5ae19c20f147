"""What is said of a dump, on dumps that both servers' own programs write, packed in every way, and damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from engines.checks import Verdict
from engines.errors import Refused, RestoreError
from engines.mysql.dumps import guards
from engines.mysql.dumps.effects import EffectKind, effect_of
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.dumps.packing import opened
from engines.mysql.dumps.statements import CHUNK, Cut, Statement
from engines.mysql.flavour import Flavour, Version, parse_version
from tests.engines.mysql.schemas import everything
from tests.servers.databases import Server

NINE = Version(Flavour.MYSQL, (9, 7, 4), "9.7.4")
SMALL = b"""-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version\t9.7.4
/*!50503 SET NAMES utf8mb4 */;
CREATE TABLE `t` (
  `id` int NOT NULL,
  `n` varchar(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `n` (`n`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `t` VALUES (1,'a),('),(2,'b'),(3,'it\\'s');
-- Dump completed on 2026-11-22 20:00:01
"""


def zipped(content: bytes, name: str = "db-dumps/mysql-shop.sql", extra: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app/.env", "SECRET=1")
        archive.writestr(name, content)
        if extra:
            archive.writestr(extra, content)
    return buffer.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]),
    "zstd": lambda content: zstandard.ZstdCompressor(write_checksum=True).compress(content),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zip": zipped,
    "zip of gzip": lambda content: zipped(gzip.compress(content), "db-dumps/mysql-shop.sql.gz"),
}


def facts_of(content: bytes, folder: Path) -> DumpFacts:
    path = folder / "dump"
    path.write_bytes(content)
    return read_facts(path)


def server_of(facts: DumpFacts) -> Version:
    version = parse_version(facts.server, facts.flavour)
    assert version is not None
    return version


def dump_of(server: Server, schema: str, *options: str) -> bytes:
    own = ("--source-data=2",) if server.flavour is Flavour.MYSQL else ("--master-data=2", "--gtid")
    return server.dump("--single-transaction", "--routines", "--events", "--triggers", *own, *options, schema)


@pytest.mark.parametrize(
    "options", [(), ("--databases",), ("--hex-blob", "--complete-insert"), ("--skip-extended-insert",)]
)
def test_the_facts_are_those_of_the_server(server: Server, options: tuple[str, ...], tmp_path: Path) -> None:
    schema = server.new_schema("shop")
    server.script(everything(server.flavour), schema, "--default-character-set=utf8mb4")
    facts = facts_of(dump_of(server, schema, *options), tmp_path)
    assert facts.complete
    assert facts.flavour == server.flavour
    assert facts.databases == ((schema,) if "--databases" in options else ())
    counted = {table.name: table.rows for table in facts.tables}
    asked = {
        name: server.sql(f"SELECT count(*) FROM `{name.replace('`', '``')}`", database=schema)[0][0] for name in counted
    }
    assert counted == asked
    kinds = dict(
        server.sql(
            "SELECT table_name, engine FROM information_schema.tables "
            f"WHERE table_schema = '{schema}' AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"
        )
    )
    assert {table.name: table.engine for table in facts.tables} == kinds
    assert set(facts.views) == {"first_view", "a view on it", "third"}
    assert set(facts.triggers) == {"users_before", "users_after", "users_again"}
    assert (set(facts.routines), facts.events) == ({"add_user", "twice"}, ("nightly",))
    assert not {"no_key", "numbers"} & {table.name for table in facts.tables if table.keyed}
    file, position = facts.coordinates.file, facts.coordinates.position
    status = server.sql("SHOW BINARY LOG STATUS" if server.flavour is Flavour.MYSQL else "SHOW MASTER STATUS")[0]
    assert (file, position) == status[:2]
    assert facts.coordinates.gtids
    assert not facts.coordinates.active
    assert not guards.forbidden(facts)
    assert [check.verdict for check in guards.guards(facts, schema, server_of(facts))] == [Verdict.OK] * 4


@pytest.mark.parametrize(
    "written",
    [
        b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'UUID:1-5,\nUUID:7';",
        b"/* SET @@GLOBAL.GTID_PURGED='+UUID:1-5,\nUUID:7';*/",  # --set-gtid-purged=COMMENTED
        b"SET @@GLOBAL.GTID_PURGED='UUID:1-5,\nUUID:7';",
    ],
    ids=["on", "commented", "before 8.0"],
)
def test_its_gtids_are_read_in_each_way_that_mysqldump_writes_them(written: bytes, tmp_path: Path) -> None:
    uuid = b"9e6a48c0-e844-11f1-b8ff-02fc00000001"
    head, _, rest = SMALL.partition(b"\nCREATE TABLE")
    between = written.replace(b"UUID", uuid) + b"\n\n--\n-- Table `t`\n--\n\nDROP TABLE IF EXISTS `t`;"
    facts = facts_of(head + b"\n" + between + b"\nCREATE TABLE" + rest, tmp_path)
    assert facts.coordinates.gtids == f"{uuid.decode()}:1-5,{uuid.decode()}:7"


def test_a_comment_before_a_table_does_not_hide_it(tmp_path: Path) -> None:
    """Without DROP TABLE the table follows at once; a comment has a delimiter in it, and one is longer than a chunk."""
    purged = b"/* SET @@GLOBAL.GTID_PURGED='+9e6a48c0-e844-11f1-b8ff-02fc00000001:1-5';*/"
    comments = (purged, b"/**/", b"/*;*/ /* it's */")
    for comment in (*comments, b"/* " + b"a;'\n" * (CHUNK // 3) + b"*/"):
        head, _, rest = SMALL.partition(b"\nCREATE TABLE")
        facts = facts_of(head + b"\n" + comment + b"\nCREATE TABLE" + rest, tmp_path)
        assert [table.name for table in facts.tables] == ["t"]
    with pytest.raises(Cut, match="in the middle of a comment, at byte"):
        facts_of(SMALL + b"/* never ended", tmp_path)


def test_a_dump_of_all_databases_says_so_and_leaves_the_servers_own_out(server: Server, tmp_path: Path) -> None:
    schema = server.new_schema("shop")
    server.script("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);", schema)
    facts = facts_of(server.dump("--all-databases", "--single-transaction"), tmp_path)
    assert {"mysql", schema} <= set(facts.databases)
    meant = next(check for check in guards.guards(facts, schema, server_of(facts)) if check.name == guards.MEANT)
    assert meant.verdict is Verdict.OK
    assert "mysql" in meant.evidence
    assert not guards.forbidden(facts)


@pytest.mark.parametrize("packing", PACKINGS)
def test_packing_changes_nothing_and_is_told_by_the_bytes(packing: str, tmp_path: Path) -> None:
    facts = facts_of(PACKINGS[packing](SMALL), tmp_path)
    assert facts.packing.replace(": db-dumps/mysql-shop.sql", "").startswith(packing.split(" of ")[0])
    assert (facts.size, facts.complete) == (len(SMALL.rstrip()), True)
    assert [(table.name, table.rows, table.secondary) for table in facts.tables] == [("t", 3, 1)]


@pytest.mark.parametrize("packing", [name for name in PACKINGS if name != "plain"])
def test_a_packed_dump_cut_anywhere_is_refused(packing: str, tmp_path: Path) -> None:
    content = PACKINGS[packing](SMALL)
    for end in range(8, len(content), 7):
        with pytest.raises(RestoreError) as refusal:
            facts_of(content[:end], tmp_path)
        assert refusal.value.hint


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_what_is_packed_a_thousandfold_is_never_held_whole(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(PACKINGS[packing](b"a long text without end, " * (1 << 20)))
    tracemalloc.start()
    try:
        with opened(path) as dump:
            while dump.stream.read(1 << 20):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20, f"{peak >> 20} MB for a file of {path.stat().st_size} bytes"


@pytest.mark.parametrize("packing", ["gzip", "zstd", "xz", "bzip2", "zip"])
def test_a_flipped_bit_is_refused_or_changes_nothing(packing: str, tmp_path: Path) -> None:
    whole, content = facts_of(PACKINGS[packing](SMALL), tmp_path), PACKINGS[packing](SMALL)
    refused = 0
    for at in range(0, len(content), 5):
        broken = bytearray(content)
        broken[at] ^= 0x10
        try:
            found = facts_of(bytes(broken), tmp_path)
        except RestoreError:
            refused += 1
        else:
            assert (found.tables, found.size) == (whole.tables, whole.size)
    assert refused > len(content) // 5 * 0.6


def test_a_plain_dump_cut_anywhere_is_never_called_whole(tmp_path: Path) -> None:
    for end in range(len(SMALL) - 40):
        try:
            facts = facts_of(SMALL[:end], tmp_path)
        except RestoreError:
            continue
        assert not facts.complete, end
        verdicts = {check.name: check.verdict for check in guards.guards(facts, "shop", NINE)}
        assert verdicts[guards.WHOLE] is Verdict.FAIL


def test_the_place_of_the_damage_is_named(tmp_path: Path) -> None:
    content = gzip.compress(SMALL * 2000)
    with pytest.raises(RestoreError, match="ends too early, at byte"):
        facts_of(content[: len(content) // 2], tmp_path)


def test_a_zip_has_one_dump_that_is_not_encrypted(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="2 dumps"):
        facts_of(zipped(SMALL, extra="db-dumps/other.sql"), tmp_path)
    path = tmp_path / "two"
    path.write_bytes(zipped(SMALL, extra="db-dumps/other.sql"))
    with opened(path, "db-dumps/other.sql") as one:
        assert one.stream.read() == SMALL
    with pytest.raises(Refused, match="0 dumps"):
        facts_of(zipped(SMALL, "elsewhere/notes.txt"), tmp_path)
    encrypted = bytearray(zipped(SMALL))
    central = encrypted.rindex(b"PK\x01\x02")
    encrypted[central + 8] |= 1
    with pytest.raises(Refused, match="encrypted"):
        facts_of(bytes(encrypted), tmp_path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"\\! rm -rf /", EffectKind.CLIENT),
        (b"system rm -rf /", EffectKind.CLIENT),
        (b"source /etc/passwd", EffectKind.CLIENT),
        (b"tee /tmp/x", EffectKind.CLIENT),
        (b"SET GLOBAL general_log=1", EffectKind.SERVER),
        (b"SET @@GLOBAL.read_only=0", EffectKind.SERVER),
        (b"/*!40101 SET PERSIST max_connections=1 */", EffectKind.SERVER),
        (b"SET @a=1, @@global.x=2", EffectKind.SERVER),
        (b"CREATE USER x", EffectKind.ACCOUNTS),
        (b"/*!50001 GRANT ALL ON *.* TO x */", EffectKind.ACCOUNTS),
        (b"CHANGE MASTER TO MASTER_LOG_FILE='a'", EffectKind.REPLICATION),
        (b"RESET MASTER", EffectKind.REPLICATION),
        (b"SHUTDOWN", EffectKind.SERVER),
        (b"KILL 3", EffectKind.SERVER),
        (b"INSTALL PLUGIN x SONAME 'y'", EffectKind.SERVER),
        (b"LOAD DATA INFILE '/etc/passwd' INTO TABLE t", EffectKind.FILES),
        (b"INSERT INTO `other`.`t` VALUES (1)", EffectKind.OTHER_SCHEMA),
        (b"DROP TABLE `other`.`t`", EffectKind.OTHER_SCHEMA),
        (b"UPDATE t SET a=1", EffectKind.UNKNOWN),
        (b"SELECT 1 INTO OUTFILE '/tmp/x'", EffectKind.UNKNOWN),
        (b"CALL p()", EffectKind.UNKNOWN),
    ],
)
def test_what_reaches_beyond_the_schema_is_named_without_its_values(text: bytes, kind: EffectKind) -> None:
    effect = effect_of(Statement(0, len(text), 1, text))
    assert effect is not None
    assert effect.kind is kind
    assert "passwd" not in effect.what
    assert "rm" not in effect.what


@pytest.mark.parametrize("mark", [b"!999999", b"!50700", b"!100100", b"M!100100", b"M!"])
@pytest.mark.parametrize(
    "text",
    [
        b"/*MARK SET @x=' */ DROP DATABASE other -- ' */",
        b"/*MARK SET @x=` */ DROP DATABASE other -- ` */",
        b"/*MARK SET @x= */ DROP DATABASE other",
        b"/*MARK SET @x=1 -- */ DROP DATABASE other\n */",
        b"/*MARK SET @x=1 # */ DROP DATABASE other\n */",
        b"/*MARK SET @x=1 /* */ DROP DATABASE other */",
        b"SET @x = 1 /*MARK , @y=' */; DROP DATABASE other -- ' */",
        b"SET @x = 1 /*MARK , @y=2 -- */ ; DROP DATABASE other\n */",
        b"SET @x = 1 /*MARK , @y=2",
        b"DROP /*MARK TABLE t -- */ DATABASE other",
        b"SET /*MARK @x = 1 , */ GLOBAL general_log = 1",
        b"CREATE /*MARK TABLE t (id INT) */ USER x",
    ],
)
def test_what_only_some_servers_skip_hides_nothing(text: bytes, mark: bytes) -> None:
    """A server that does not execute such a comment goes on behind the first */ in it."""
    hidden = text.replace(b"MARK", mark)
    assert effect_of(Statement(0, len(hidden), 1, hidden)) is not None


@pytest.mark.parametrize(
    "text",
    [
        b"/*!80000 SET SESSION x='a''b' */",
        b"/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */",
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 */ "
        b"/*!80016 DEFAULT ENCRYPTION='N' */",
        b"CREATE TABLE `t` (`a` int /*!80023 INVISIBLE */, `it's` int COMMENT 'a */ b') "
        b"/*!50100 PARTITION BY HASH (a) */",
        b"CREATE PROCEDURE p() BEGIN /*!80000 SET @x = 'it''s' */; -- it's\n SET @y = 1; END",
        b"SET @OLD_X=@@GLOBAL_X",
        b"/*!40101 SET character_set_client = @saved_cs_client */",
        b"LOCK TABLES `t` WRITE",
        b"/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`%`*/ /*!50003 TRIGGER t AFTER INSERT ON u FOR EACH ROW SET @x=1 */",
        b"CREATE DEFINER=`a`@`b` PROCEDURE `p`() BEGIN DROP USER x; END",
        b"ALTER DATABASE `shop` CHARACTER SET utf8mb4",
        b"DO SETVAL(`s`, 1)",
    ],
)
def test_what_dump_programs_write_is_allowed(text: bytes) -> None:
    assert effect_of(Statement(0, len(text), 1, text)) is None


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ((b"Database: shop", b"Database: other"), guards.MEANT),
        ((b"CREATE TABLE", b"USE `other`;\nCREATE TABLE"), guards.MEANT),
        ((b"CREATE TABLE", b"DROP DATABASE `other`;\nCREATE TABLE"), guards.MEANT),
        ((b"CREATE TABLE", b"\\! id;\nCREATE TABLE"), guards.LAWFUL),
        (
            (b"CREATE TABLE", b"CHANGE MASTER TO MASTER_LOG_FILE='b.000001', MASTER_LOG_POS=4;\nCREATE TABLE"),
            guards.LAWFUL,
        ),
        ((b"Server version\t9.7.4", b"Server version\t10.11.19-MariaDB"), guards.FITS),
        ((b"-- Dump completed", b"-- Dump interrupted"), guards.WHOLE),
        ((b"SET NAMES utf8mb4", b"SET sql_mode='NO_BACKSLASH_ESCAPES'"), guards.FITS),
    ],
)
def test_a_dump_that_is_not_the_right_one_fails_by_name(change: tuple[bytes, bytes], name: str, tmp_path: Path) -> None:
    facts = facts_of(SMALL.replace(*change), tmp_path)
    failed = [check for check in guards.guards(facts, "shop", NINE) if check.verdict is Verdict.FAIL]
    assert [check.name for check in failed] == [name]
    assert failed[0].hint


def test_a_file_that_is_no_dump_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\n\n", b"-- only a comment\n", b"\x00\x01\x02 not sql"):
        with pytest.raises(RestoreError):
            facts_of(content, tmp_path)
