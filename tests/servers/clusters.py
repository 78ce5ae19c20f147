"""Real servers that follow each other, all on the loopback interface: a Galera cluster, and a primary with a replica.

The nodes of a cluster begin with copies of one data directory that already knows its place in the cluster's history, so
that none has to send another its state. All are ended by pid, and their folders go.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.mysql.flavour import Flavour
from tests.servers.databases import HOME, Build, Server, build_of, free_port, made, running, template
from tests.servers.waiting import until

_PROVIDER = "/usr/lib/galera/libgalera_smm.so"
_SECONDS = 120.0  # generous: a machine under load has to elect, transfer and sync
_NAME = "loopback"
# Nodes of one cluster write no doubled row: numbers that count are handed out by node.
_GALERA = (
    "--wsrep-on=ON",
    f"--wsrep-provider={_PROVIDER}",
    f"--wsrep-cluster-name={_NAME}",
    f"--wsrep-sst-method={_NAME}",
    "--wsrep-node-address=127.0.0.1",
    "--innodb-autoinc-lock-mode=2",
    "--log-slave-updates=ON",
)


@contextmanager
def galera(nodes: int = 3, place: Path | None = None) -> Iterator[tuple[Server, ...]]:
    """Nodes of one cluster, all synced. Needs Debian's galera-4, which comes with its mariadb-server."""
    build = build_of(Flavour.MARIADB)
    data = _joined(build)
    first = free_port()
    with ExitStack() as stack:
        servers = []
        for number in range(nodes):
            server = stack.enter_context(made(build, place=place, data=data))
            server.environment = {
                "PATH": f"{Path(__file__).parent}:{os.environ['PATH']}",
                "LOOPBACK_POSITION": (data / "position").read_text(),
            }
            listens = free_port() if number else first
            new = () if number else ("--wsrep-new-cluster",)
            server.begin(*_options(server, listens, f"127.0.0.1:{first}", number), *new)
            until(server.answers, "the node answers", _SECONDS)
            servers.append(server)
        until(lambda: all(is_synced(one, nodes) for one in servers), f"{nodes} nodes are synced", _SECONDS)
        yield tuple(servers)


@contextmanager
def primary_with_replica(build: Build, place: Path | None = None) -> Iterator[tuple[Server, Server]]:
    """A primary, and a replica of it by GTID that tells where it is (report_host)."""
    with running(build, place=place) as primary, made(build, place=place) as replica:
        replica.start("--report-host=127.0.0.1", f"--report-port={replica.port}")
        primary.sql("CREATE USER 'replica'@'%' IDENTIFIED BY 'x'", "GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%'")
        if build.flavour is Flavour.MYSQL:
            replica.sql(
                f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={primary.port}, "
                "SOURCE_USER='replica', SOURCE_PASSWORD='x', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1",
                "START REPLICA",
            )
        else:
            replica.sql(
                f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, "
                "MASTER_USER='replica', MASTER_PASSWORD='x', MASTER_USE_GTID=slave_pos",
                "START SLAVE",
            )
        listing = "SHOW REPLICAS" if build.flavour is Flavour.MYSQL else "SHOW SLAVE HOSTS"
        until(lambda: bool(primary.sql(listing)), "the replica has registered", _SECONDS)
        until(lambda: _has_account(replica), "the replica applies", _SECONDS)
        yield primary, replica


def _has_account(server: Server) -> bool:
    """Has the account come by replication that the primary made for it?"""
    return bool(server.sql("SELECT 1 FROM mysql.user WHERE user = 'replica'"))


def is_synced(server: Server, nodes: int) -> bool:
    status = dict(server.sql("SHOW GLOBAL STATUS LIKE 'wsrep_%'"))
    return (status["wsrep_local_state_comment"], int(status["wsrep_cluster_size"])) == ("Synced", nodes)


def _options(server: Server, listens: int, first: str, number: int) -> tuple[str, ...]:
    receives = free_port()
    return (
        *_GALERA,
        f"--wsrep-cluster-address=gcomm://{first}",
        f"--wsrep-node-name=node{number + 1}",
        f"--wsrep-node-incoming-address=127.0.0.1:{server.port}",
        "--wsrep-provider-options="
        f"gmcast.listen_addr=tcp://127.0.0.1:{listens};ist.recv_addr=127.0.0.1:{receives};"
        f"base_host=127.0.0.1;base_port={listens};gcache.size=32M;pc.recovery=false",
    )


def _joined(build: Build) -> Path:
    """A data directory that was a cluster's, ended in good order; made once, and copied for each node."""
    plain = template(build)
    kept = plain.with_name(f"{plain.name}-galera")
    with (HOME / f".{build.name}-galera.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            return kept
        with made(build) as server:
            server.start(*_options(server, free_port(), "", 0), "--wsrep-new-cluster")
            until(lambda: is_synced(server, 1), "the only node is synced", _SECONDS)
            server.sql("CREATE DATABASE first", "DROP DATABASE first")  # so that the data has a place in the history
            server.stop()
            state = dict(
                line.split(":", 1) for line in (server.datadir / "grastate.dat").read_text().splitlines() if ":" in line
            )
            (server.datadir / "galera.cache").unlink(missing_ok=True)
            (server.datadir / "position").write_text(f"{state['uuid'].strip()}:{state['seqno'].strip()}")
            new = Path(tempfile.mkdtemp(prefix="new-", dir=HOME))
            new.rmdir()
            subprocess.run(("cp", "-a", str(server.datadir), str(new)), check=True)
            new.rename(kept)
        return kept
