"""The servers that other tests stand on: the versions that are meant, their data, their ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pymysql
import pytest

from engines.mysql.flavour import Flavour
from tests.servers.databases import FLAVOURS, PASSWORD, Build, Server
from tests.servers.proxy import proxied
from tests.servers.s3 import S3Server
from tests.servers.waiting import gone


def test_each_server_is_the_version_that_the_matrix_names(server: Server) -> None:
    ((version,),) = server.sql("SELECT VERSION()")
    assert version.startswith(server.build.expected)
    assert ("MariaDB" in version) is (server.flavour is Flavour.MARIADB)


def test_the_client_programs_take_the_login_from_its_file(server: Server) -> None:
    schema = server.new_schema()
    server.script("CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1), (2);", schema)
    copy = server.new_schema("copy")
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    server.script(server.dump(*plain, schema), copy)
    assert server.sql(f"SELECT count(*) FROM `{copy}`.t") == [(2,)]
    assert PASSWORD not in " ".join(server.client("mysql"))
    assert server.option_file.stat().st_mode & 0o777 == 0o600


def test_a_killed_server_comes_back_with_what_was_committed(fresh_server: Server) -> None:
    schema = fresh_server.new_schema()
    fresh_server.sql(f"CREATE TABLE `{schema}`.t (a INT PRIMARY KEY)", f"INSERT INTO `{schema}`.t VALUES (7)")
    fresh_server.kill()
    fresh_server.start()
    assert fresh_server.sql(f"SELECT a FROM `{schema}`.t") == [(7,)]


def test_two_servers_of_a_kind_are_two(start_server: Callable[..., Server]) -> None:
    first, second = (start_server(FLAVOURS[0]) for _ in range(2))
    first.sql("CREATE DATABASE only_here")
    assert ("only_here",) not in second.sql("SHOW DATABASES")
    assert first.sql("SELECT @@server_id") != second.sql("SELECT @@server_id")


@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_a_server_is_gone_with_its_folder_and_its_port(build: Build) -> None:
    from tests.servers.databases import running

    with running(build) as server:
        process, folder, port = psutil.Process(server.pid), server.folder, server.port
    assert gone(process)
    assert not folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_proxy_passes_on_and_cuts(server: Server) -> None:
    with proxied(server.port) as proxy:
        line = pymysql.connect(host="127.0.0.1", port=proxy.port, user="root", password=PASSWORD)
        with line.cursor() as cursor:
            cursor.execute("SELECT 1")
        proxy.cut()
        with line.cursor() as cursor, pytest.raises(pymysql.err.OperationalError):
            cursor.execute("SELECT 1")
        line.close()
        proxy.refuse()
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(host="127.0.0.1", port=proxy.port, user="root", password=PASSWORD)


def test_objects_in_a_versioned_bucket_keep_their_versions(s3: S3Server, tmp_path: Path) -> None:
    client = s3.client()
    bucket = s3.bucket(f"servers-{os.getpid()}", versioned=True)
    first = client.put_object(Bucket=bucket, Key="a", Body=b"one")["VersionId"]
    client.put_object(Bucket=bucket, Key="a", Body=b"two")
    assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"two"
    assert client.get_object(Bucket=bucket, Key="a", VersionId=first)["Body"].read() == b"one"
    client.close()
    assert (tmp_path / "credentials").exists()
