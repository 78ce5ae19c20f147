"""Only who knows the one-time password gets in, on a real socket; others get a proper answer and nothing else."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.errors import RestoreError
from engines.mysql.flavour import Flavour, Version
from engines.mysql.source import login, packets
from engines.mysql.source.certificate import made_context
from engines.mysql.source.serving import Credentials, Identity, Source, made_credentials, serving
from tests.engines.mysql.source.sending import SERVER_ID
from tests.engines.mysql.source.test_packets import a_response, an_event, unframed
from tests.servers.waiting import until

MYSQL = Version(Flavour.MYSQL, (9, 7, 4), "9.7.4")
MARIADB = Version(Flavour.MARIADB, (10, 11, 18), "10.11.18-MariaDB-log")
PERSON = made_credentials()
UUID = "7f1c0a52-0000-4000-8000-00000000abcd"


def nothing(_file: str, _position: int) -> Iterator[bytes]:
    return iter(())


def one_event_then_trouble(_file: str, _position: int) -> Iterator[bytes]:
    yield an_event(3)
    raise RestoreError("binlog.000001, byte 99: damaged.", "Fetch it again.")


@contextmanager
def source(
    version: Version = MYSQL,
    *,
    events: object = nothing,
    tls: ssl.SSLContext | None = None,
    allowed: str = "127.0.0.1",
    said: list[str] | None = None,
) -> Iterator[Source]:
    before = set(threading.enumerate())
    with serving(
        Identity(version, SERVER_ID, UUID),
        PERSON,
        events,  # type: ignore[arg-type]  # one of those above
        bind="127.0.0.1",
        allowed=frozenset({allowed}),
        tls=tls,
        say=(said if said is not None else []).append,
    ) as found:
        yield found
        ending = time.monotonic()
    assert time.monotonic() - ending < 1.5
    assert set(threading.enumerate()) <= before


def connected(
    port: int, password: str = PERSON.password, user: str = PERSON.user
) -> pymysql.Connection[pymysql.cursors.Cursor]:
    return pymysql.connect(
        host="127.0.0.1", port=port, user=user, password=password, ssl_disabled=True, autocommit=None
    )


@pytest.mark.parametrize("version", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
def test_the_right_password_gets_in_and_gets_answers(version: Version) -> None:
    said: list[str] = []
    with source(version, said=said) as found:
        connection = connected(found.port)
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.SERVER_ID")
            assert cursor.fetchall() == ((str(SERVER_ID),),)
            cursor.execute("SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'")
            assert cursor.fetchall() == ()
            with pytest.raises(pymysql.err.OperationalError, match="1193"):
                cursor.execute("SELECT @@global.rpl_semi_sync_source_enabled")
            with pytest.raises(pymysql.err.ProgrammingError, match="1064"):
                cursor.execute("DROP DATABASE shop")
        connection.ping()
        connection.close()
        assert found.refused == ()
    assert said == ["The receiver asks what is not known here: DROP DATABASE shop"]


@pytest.mark.parametrize("version", [MYSQL, MARIADB], ids=["mysql", "mariadb"])
@pytest.mark.parametrize(
    ("user", "password"),
    [(PERSON.user, "x"), (PERSON.user, ""), ("root", PERSON.password)],
    ids=["wrong", "none", "somebody else"],
)
def test_anything_else_is_a_1045(version: Version, user: str, password: str) -> None:
    with source(version) as found:
        with pytest.raises(pymysql.err.OperationalError, match="1045"):
            connected(found.port, password, user)
        assert found.refused == ("127.0.0.1: wrong user or password",)


@pytest.mark.parametrize(("version", "right"), [(MYSQL, True), (MYSQL, False), (MARIADB, True), (MARIADB, False)])
def test_another_plugins_answer_is_switched_and_checked_then(version: Version, right: bool) -> None:
    plugin = login.plugin_of(version.flavour)
    with source(version) as found, socket.create_connection(("127.0.0.1", found.port), 5) as line:
        line.recv(4096)
        line.sendall(packets.framed(a_response(PERSON.user.encode(), b"", b"dialog"), 1))
        ((number, switch),) = unframed(line.recv(4096))
        assert (number, switch[:1], switch[1:].split(b"\0")[0].decode()) == (2, b"\xfe", plugin)
        nonce = switch[len(plugin) + 2 : -1]
        proof = login.scramble(plugin, PERSON.password if right else "x", nonce)
        line.sendall(packets.framed(proof, 3))
        answered = unframed(line.recv(4096))
        assert answered[-1][1][0] == (0 if right else 0xFF)


def test_a_scramble_of_a_former_greeting_is_worth_nothing() -> None:
    with source() as found:
        with socket.create_connection(("127.0.0.1", found.port), 5) as line:
            ((_, hello),) = unframed(line.recv(4096))
            told = hello.split(b"\0", 1)[1]
            nonce = told[4:12] + told[31 - 4 : 31 + 12 - 4]
        with socket.create_connection(("127.0.0.1", found.port), 5) as line:
            line.recv(4096)
            old = login.scramble(login.CACHING_SHA2, PERSON.password, nonce)
            line.sendall(packets.framed(a_response(PERSON.user.encode(), old), 1))
            ((_, answered),) = unframed(line.recv(4096))
            assert answered[:3] == b"\xff" + (1045).to_bytes(2, "little")


def test_an_address_that_is_not_allowed_gets_no_byte() -> None:
    with source(allowed="127.0.0.2") as found, socket.create_connection(("127.0.0.1", found.port), 5) as line:
        assert line.recv(100) == b""
        until(lambda: found.refused == ("127.0.0.1: this address is not the target's",), "it is counted")


def test_connections_are_bounded_and_those_that_say_nothing_end_with_the_source() -> None:
    with source() as found:
        lines = [socket.create_connection(("127.0.0.1", found.port), 5) for _ in range(8)]
        assert all(line.recv(4096) for line in lines)
        with socket.create_connection(("127.0.0.1", found.port), 5) as one_more:
            assert one_more.recv(100) == b""
    for line in lines:
        line.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=300))
def test_garbage_ends_its_own_connection_only(garbage: bytes) -> None:
    with source() as found:
        with socket.create_connection(("127.0.0.1", found.port), 5) as line:
            line.recv(4096)
            with suppress(OSError):  # it may have hung up in the middle of it
                line.sendall(garbage)
                line.shutdown(socket.SHUT_WR)
                while line.recv(4096):
                    pass
        connected(found.port).close()


def test_a_large_packet_before_login_is_not_read() -> None:
    with source() as found, socket.create_connection(("127.0.0.1", found.port), 5) as line:
        line.recv(4096)
        line.sendall(b"\xff\xff\xff\x01")
        assert line.recv(100) == b""
        until(lambda: bool(found.refused) and "16,777,215 bytes" in found.refused[0], "it is counted")


def test_tls_is_what_it_has_to_be_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, path: Path) -> None:
        modes.append(path.stat().st_mode & 0o777)
        load(context, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    made = made_context(tmp_path)
    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == []  # also while it is used: a killed runner leaves no key
    encrypted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    encrypted.check_hostname = False
    encrypted.verify_mode = ssl.CERT_NONE
    with source(tls=made) as found:
        with pytest.raises(pymysql.err.OperationalError, match="3159"):
            connected(found.port)
        connection = pymysql.connect(
            host="127.0.0.1",
            port=found.port,
            user=PERSON.user,
            password=PERSON.password,
            ssl=encrypted,
            autocommit=None,
        )
        assert connection.ping() is None
        connection.close()


def test_what_the_logs_refuse_reaches_the_receiver_and_the_operator() -> None:
    with source(events=one_event_then_trouble) as found:
        connection = connected(found.port)
        connection._execute_command(packets.BINLOG_DUMP, bytes(6) + bytes(4) + b"binlog.000001")  # type: ignore[attr-defined]
        assert connection._read_packet().get_all_data()[1:] == an_event(3)  # type: ignore[no-untyped-call]
        with pytest.raises(pymysql.err.OperationalError, match=r"1236.*damaged"):
            connection._read_packet()  # type: ignore[no-untyped-call]
        until(lambda: not found.connected, "it is over")
        assert isinstance(found.failure, RestoreError)
        assert found.asked == 1
        connection._force_close()  # type: ignore[attr-defined]


def test_gtids_are_refused_in_words() -> None:
    with source() as found:
        connection = connected(found.port)
        connection._execute_command(packets.BINLOG_DUMP_GTID, bytes(20))  # type: ignore[attr-defined]
        with pytest.raises(pymysql.err.OperationalError, match=r"1236.*no GTIDs"):
            connection._read_packet()  # type: ignore[no-untyped-call]
        connection.close()


def test_no_password_shows() -> None:
    assert PERSON.password not in repr(PERSON)
    assert len(PERSON.password) <= 32
    assert Credentials("a", "b") != PERSON
