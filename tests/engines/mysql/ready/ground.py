"""What these tests stand on: accounts with exactly the privileges given, and the server's facts as root sees them."""

from __future__ import annotations

import secrets

from engines.mysql.connect import Login, connected
from engines.mysql.server import ServerFacts, look
from tests.servers.databases import Server


def account(server: Server, *privileges: str, on: str = "*.*") -> Login:
    """A new account that may do this and nothing else."""
    name = f"reinstate_{secrets.token_hex(4)}"
    server.sql(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'x'")
    if privileges:
        server.sql(f"GRANT {', '.join(privileges)} ON {on} TO '{name}'@'%'")
    return Login(name, "x")


def facts_of(server: Server, login: Login | None = None) -> ServerFacts:
    with connected(server.place, login or server.login) as connection:
        return look(connection)
