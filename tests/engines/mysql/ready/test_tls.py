"""Each ssl-mode does what its name says: MySQL makes certificates by itself, MariaDB 10.11 has no TLS by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.connect import Tls, connected
from engines.mysql.flavour import Flavour
from tests.servers.databases import Server


def cipher(server: Server, tls: Tls, ca: Path | None = None) -> str:
    """What a connection over TCP is encrypted with; empty: it is not."""
    with connected(server.place, replace(server.login, tls=tls, ca=ca)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return str(cursor.fetchall()[0][1])


def refusal(server: Server, tls: Tls, ca: Path | None = None) -> RestoreError:
    with pytest.raises(RestoreError) as refused:
        cipher(server, tls, ca)
    return refused.value


def test_disabled_is_not_encrypted_and_preferred_where_the_server_can(server: Server) -> None:
    assert cipher(server, Tls.DISABLED) == ""
    assert bool(cipher(server, Tls.PREFERRED)) is (server.flavour is Flavour.MYSQL)


def test_required_is_encrypted_or_refused(server: Server) -> None:
    if server.flavour is Flavour.MYSQL:
        assert cipher(server, Tls.REQUIRED)
        return
    for tls in (Tls.REQUIRED, Tls.VERIFY_CA, Tls.VERIFY_IDENTITY):
        assert "Turn TLS on" in refusal(server, tls).hint


def test_the_authority_and_the_name_are_verified(server: Server) -> None:
    if server.flavour is not Flavour.MYSQL:
        assert not list(server.datadir.glob("*.pem"))  # it has none that could be verified
        return
    ca = server.datadir / "ca.pem"
    assert cipher(server, Tls.VERIFY_CA, ca)
    for tls, wrong in ((Tls.VERIFY_CA, None), (Tls.VERIFY_CA, server.datadir / "server-cert.pem")):
        assert "ssl-ca" in refusal(server, tls, wrong).hint
    unnamed = refusal(server, Tls.VERIFY_IDENTITY, ca)
    assert "127.0.0.1" in unnamed.message
    assert "the host among them" in unnamed.hint
    assert "TLS files" in refusal(server, Tls.VERIFY_CA, server.datadir / "nothing.pem").message
