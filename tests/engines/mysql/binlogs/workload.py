"""Makes a server write every kind of transaction that it can: formats, compression, checksums, triggers, XA, tags."""

from __future__ import annotations

from engines.mysql.flavour import Flavour
from tests.servers.databases import Server

COLUMNS = """id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(300), b DECIMAL(20,7), c DATETIME(3), d ENUM('x','y'),
 e SET('p','q'), f JSON, g BIT(13), h CHAR(40), i DOUBLE, j TIMESTAMP(5) NULL, k TIME(2), l BLOB, m YEAR, n DATE,
 o BIGINT UNSIGNED, p LONGTEXT, q TINYINT, r SMALLINT, s MEDIUMINT, t FLOAT, u VARBINARY(20), v POINT, w CHAR(255)"""
VALUES = """'row ü', 12345678.1234567, NOW(3), 'x', 'p,q', '{"a": 1, "b": "a long enough text to make a difference"}',
 b'101', 'char', 1.25, NOW(5), '10:11:12.5', 'blob', 2024, '2024-01-02', 12345678901234567890, REPEAT('z', 70000),
 1, 2, 3, 1.5, x'00ff', ST_GeomFromText('POINT(1 2)'), NULL"""
NAMES = "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w"
LOGGED = 200  # rows that one statement puts into `log2`


def busy(server: Server, schema: str = "shop") -> None:
    """Leaves at least five logs, the last one open."""
    mysql = server.flavour is Flavour.MYSQL
    server.sql(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    server.sql(
        f"CREATE TABLE t ({COLUMNS})",
        "CREATE TABLE log (n INT, note MEDIUMTEXT)",
        "CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id, 'ins')",
        "CREATE TABLE my (id INT, v VARCHAR(20)) ENGINE=MyISAM",
        *[f"INSERT INTO t ({NAMES}) VALUES ({VALUES})"] * 5,
        "BEGIN",
        "UPDATE t SET a = CONCAT(a, '!') WHERE id < 4",
        "DELETE FROM t WHERE id = 4",
        "INSERT INTO log VALUES (1, NULL), (2, 'x'), (3, 'y')",
        "COMMIT",
        "INSERT INTO my VALUES (1, 'a'), (2, 'b')",
        "SET timestamp = 1500000000",
        "INSERT INTO log VALUES (99, 'as of 2017')",
        "SET timestamp = DEFAULT",
        "CREATE TABLE cp AS SELECT id, a FROM t",
        "BEGIN",
        "INSERT INTO log VALUES (5, 's')",
        "SAVEPOINT s1",
        "INSERT INTO log VALUES (6, 's')",
        "ROLLBACK TO s1",
        "COMMIT",
        "XA START 'x1'",
        "INSERT INTO log VALUES (7, 'xa')",
        "XA END 'x1'",
        "XA PREPARE 'x1'",
        "XA COMMIT 'x1'",
        "XA START 'x2'",
        "INSERT INTO log VALUES (8, 'xa')",
        "XA END 'x2'",
        "XA COMMIT 'x2' ONE PHASE",
        "DROP TRIGGER tr",
        "TRUNCATE TABLE cp",
        "DROP TABLE cp, my",
        "RENAME TABLE log TO log2",
        "FLUSH BINARY LOGS",
        "DELETE FROM t WHERE id < 3",
        f"INSERT INTO log2 SELECT 1, REPEAT('q', 1000) FROM information_schema.collations LIMIT {LOGGED}",
        "INSERT INTO log2 VALUES (1, REPEAT('L', 5000000))",
        "SET SESSION binlog_format = STATEMENT",
        "INSERT INTO log2 VALUES (77, 'statement')",
        "SET @u = 3",
        "INSERT INTO log2 VALUES (@u, 'user variable')",
        "INSERT INTO t (a) VALUES ('insert id')",
        "SET SESSION binlog_format = ROW",
        *(_compressed_by_mysql() if mysql else _compressed_by_mariadb()),
        "FLUSH BINARY LOGS",
        "INSERT INTO log2 VALUES (1, 'next')",
        "SET GLOBAL binlog_checksum = NONE",
        "INSERT INTO log2 VALUES (1, 'without checksums')",
        "SET GLOBAL binlog_checksum = CRC32",
        "INSERT INTO log2 VALUES (1, 'open')",
        database=schema,
    )
    if mysql and server.sql("SELECT @@gtid_mode") == [("ON",)]:
        server.sql(
            "SET gtid_next = 'AUTOMATIC:blue'",
            "INSERT INTO log2 VALUES (1, 'tagged')",
            "INSERT INTO log2 VALUES (2, 'tagged')",
            database=schema,
        )


def _compressed_by_mysql() -> tuple[str, ...]:
    return (
        "SET SESSION binlog_transaction_compression = ON",
        "INSERT INTO log2 VALUES (1, REPEAT('L', 50000))",
        "BEGIN",
        "UPDATE log2 SET n = n + 1 LIMIT 30",
        "DELETE FROM log2 LIMIT 10",
        "COMMIT",
        "SET SESSION binlog_transaction_compression = OFF",
        "SET SESSION binlog_rows_query_log_events = ON",
        "UPDATE log2 SET n = n + 1 LIMIT 3",
        "SET SESSION binlog_rows_query_log_events = OFF",
        "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'",
        "UPDATE t SET f = JSON_SET(f, '$.a', 2)",
        "SET SESSION binlog_row_value_options = ''",
    )


def _compressed_by_mariadb() -> tuple[str, ...]:
    return (
        "SET GLOBAL log_bin_compress = ON",
        "SET GLOBAL log_bin_compress_min_len = 10",
        "INSERT INTO log2 VALUES (1, REPEAT('L', 50000))",
        "UPDATE log2 SET n = n + 1 LIMIT 30",
        "DELETE FROM log2 LIMIT 10",
        "CREATE TABLE z (a INT COMMENT 'long enough to be compressed by the server that writes it')",
        "DROP TABLE z",
        "SET GLOBAL log_bin_compress = OFF",
    )
