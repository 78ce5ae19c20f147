"""Whole sessions whose replay the server pulls itself, and those that fall back to the client."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.mysql.flavour import Flavour
from engines.mysql.source.replay import CHECK
from engines.session import store
from tests.engines.recipes.mysql_ground import Ground, prepared
from tests.engines.recipes.mysql_world import programs_of
from tests.engines.recipes.test_mysql_kills import PULLED, whole
from tests.servers.databases import Server, build_of, running

CASES = ((Flavour.MYSQL, "staged"), (Flavour.MARIADB, "in-place"))  # the others: torture, test_mysql_kills


def replayed(ground: Ground) -> str:
    """How the plan says that the logs come back, and how they did."""
    state = store.open_session(ground.session).state
    known = next(one for one in state.steps if one.step.action == "replay")
    return "\n".join((*known.step.shows, *(path.read_text() for path in (ground.session / "logs").glob("*replay*"))))


@pytest.mark.parametrize(("flavour", "method"), CASES, ids=lambda value: str(value))
def test_the_server_pulls_the_logs_and_nothing_of_it_is_left(tmp_path: Path, flavour: Flavour, method: str) -> None:
    build = build_of(flavour)
    with running(build, "--local-infile=0", *PULLED[flavour]) as server, programs_of(server):
        ground = prepared(tmp_path / "world", server, method, replay="auto")
        whole(ground)
        check = store.open_session(ground.session).state.checks[CHECK].check
        assert (check.verdict, check.hint) == ("OK", ""), check
        told = replayed(ground)
        assert "as a replication source" in told
        assert "the target asks for" in told
        assert "mysqlbinlog" not in told


def test_where_the_server_would_not_log_what_it_pulls_the_client_replays(
    mariadb_server: Server, tmp_path: Path
) -> None:
    with programs_of(mariadb_server):
        ground = prepared(tmp_path / "world", mariadb_server, "staged", replay="auto")
    check = store.open_session(ground.session).state.checks[CHECK].check
    assert check.verdict == "WARN"
    assert "log_slave_updates is OFF" in check.evidence
    assert "binlog" in replayed(ground)
