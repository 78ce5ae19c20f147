"""Replicas, sources and clusters: what a restore will do to them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engines.checks import Check, fail, ok, unknown, warn
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.intent import Intent
from engines.mysql.server import Cluster, ServerFacts
from engines.text import count, drawable, size

WRITABLE = "The server takes writes"
SOURCE = "The server is nobody's replica"
REPLICAS = "Replicas of the server"
CLUSTER = "Cluster"
GTIDS = "GTIDs"
_TOLD = 4
_CLIENT = "GRANT REPLICATION CLIENT (MariaDB: SLAVE MONITOR) to the login, as docs/privileges.md has it."


def replication(server: ServerFacts, intent: Intent, dump: DumpFacts | None = None) -> Iterator[Check]:
    yield _writable(server)
    yield _source(server)
    yield _replicas(server, intent)
    yield _cluster(server, intent, dump)
    if dump is not None:
        yield _gtids(server, intent, dump)


def logging_told(server: ServerFacts, intent: Intent) -> str:
    """One line for the plan: what the restore does to the binary log, and so to replicas."""
    if not server.log_bin:
        return "the server writes no binary log"
    if server.cluster is not None and server.cluster.kind == "Galera":
        return f"written to the binary log, and to all {server.cluster.size} members of the Galera cluster"
    number = len(server.replicas or ())
    if not intent.binary_log:
        left = f"; {number} replicas keep the old data and have to be made anew" if number else ""
        return f"left out of the binary log{left}"
    if server.cluster is not None:
        return f"written to the binary log, and to all {server.cluster.size} members of the group"
    if server.replicas is None:
        return "written to the binary log; whether there are replicas is not known"
    return f"written to the binary log{f', and so to {number} replicas' if number else '; no replica follows it now'}"


def _writable(server: ServerFacts) -> Check:
    if server.super_read_only or server.read_only:
        name = "super_read_only" if server.super_read_only else "read_only"
        hint = (
            f"A server is read-only for a reason, often because it is a replica. SET GLOBAL {name} = OFF once you know."
        )
        return fail(WRITABLE, f"{name} is on", hint)
    return ok(WRITABLE, "read_only is off")


def _source(server: ServerFacts) -> Check:
    if server.replica_of is None:
        return unknown(SOURCE, server.unknown.get("replica_of", "not asked"), _CLIENT)
    if server.replica_of:
        told = ", ".join(map(str, server.replica_of[:_TOLD]))
        hint = (
            "Restore on the source, and its replicas follow. If this one is to stand alone: STOP and RESET REPLICA ALL."
        )
        return fail(SOURCE, f"it is a replica of {told}", hint)
    return ok(SOURCE, "it follows no other server")


def _replicas(server: ServerFacts, intent: Intent) -> Check:
    if server.replicas is None:
        hint = "GRANT REPLICATION SLAVE or PROCESS to the login, as docs/privileges.md has it."
        return unknown(REPLICAS, server.unknown.get("replicas", "not asked"), hint)
    told = logging_told(server, intent)
    if not server.replicas:
        return ok(REPLICAS, told)
    names = ", ".join(map(str, server.replicas[:_TOLD]))
    if not server.log_bin or not intent.binary_log:
        hint = 'Set binary_log = "on", or plan to make the replicas anew and let the commander accept it.'
        return fail(REPLICAS, f"{told}: {names}", hint)
    return ok(REPLICAS, f"{told}: {names}; each applies the whole restore, and is behind until it has")


def _cluster(server: ServerFacts, intent: Intent, dump: DumpFacts | None) -> Check:
    if "cluster" in server.unknown:
        hint = "GRANT SELECT ON performance_schema.* to the login, as docs/privileges.md has it."
        return unknown(CLUSTER, server.unknown["cluster"], hint)
    cluster = server.cluster
    if cluster is None:
        return ok(CLUSTER, "the server is a member of none")
    told = f"{cluster.kind}, {cluster.size} members, {cluster.state}"
    if not cluster.primary:
        return fail(CLUSTER, f"{told}: this member does not take writes", "Connect to the member that does.")
    if not intent.binary_log:
        hint = 'Set binary_log = "on": members have to get the same data.'
        return fail(CLUSTER, f"{told}: what is left out of the binary log makes members differ", hint)
    if cluster.kind == "Galera" and (check := _galera(server, cluster, intent, dump, told)) is not None:
        return check
    wrong = _unfit(dump) if dump is not None else ()
    if wrong:
        hint = "Give them a primary key and InnoDB before the next dump, or restore outside of the cluster."
        named = _named(wrong)
        verdict = fail if cluster.kind == "Group Replication" else warn
        return verdict(CLUSTER, f"{told}: without a key, or not in InnoDB, are {named}", hint)
    each = "every statement that makes tables stops all members for its time" if cluster.kind == "Galera" else ""
    return ok(CLUSTER, f"{told}; the restore goes to all of them" + (f"; {each}" if each else ""))


def _galera(server: ServerFacts, cluster: Cluster, intent: Intent, dump: DumpFacts | None, told: str) -> Check | None:
    """What makes members differ, hides what was written through others, or ends the load; None: nothing does."""
    if not cluster.shares:
        hint = "SET GLOBAL wsrep_OSU_method = TOI;"
        return fail(CLUSTER, f"{told}: wsrep_OSU_method is RSU, so that tables are made on this member alone", hint)
    if server.log_bin and not server.log_updates:
        hint = "Restore through a member with log_slave_updates, or turn it on here (it takes a restart)."
        why = "without log_slave_updates its binary log lacks what is written through other members"
        return fail(CLUSTER, f"{told}: {why}", hint)
    if dump is None:
        return None
    alone = tuple(one.name for one in dump.tables if one.engine.lower() not in ("innodb", ""))
    if alone:
        hint = "Change them to InnoDB before the next dump. Their rows would stay on this member alone."
        return fail(CLUSTER, f"{told}: not in InnoDB, and so not replicated, are {_named(alone)}", hint)
    if cluster.limit and dump.largest > cluster.limit:
        hint = f"SET GLOBAL wsrep_max_ws_size = {2**31 - 1};"
        have = f"wsrep_max_ws_size is {size(cluster.limit)}, the longest statement has {size(dump.largest)}"
        return fail(CLUSTER, f"{told}: {have}", hint)
    if dump.sequences:
        hint = "CREATE SEQUENCE … INCREMENT BY 0, or NOCACHE, before the dump is taken; another form ends the load."
        verdict = warn if intent.staged else fail
        return verdict(CLUSTER, f"{told}: not every form of a sequence is taken: {_named(dump.sequences)}", hint)
    return None


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(drawable, names[:_TOLD])) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")


def _unfit(dump: DumpFacts) -> tuple[str, ...]:
    return tuple(one.name for one in dump.tables if not one.keyed or one.engine.lower() not in ("innodb", ""))


def _gtids(server: ServerFacts, intent: Intent, dump: DumpFacts) -> Check:
    """What the loader leaves out needs no room; a replay must neither be skipped nor be out of order."""
    if server.mariadb:
        if server.gtid_strict and intent.replays and intent.binary_log and server.log_bin:
            hint = "SET GLOBAL gtid_strict_mode = OFF; for the time of the replay, and back ON after it."
            return fail(GTIDS, "gtid_strict_mode is on: replayed transactions would be out of order (1950)", hint)
        return ok(GTIDS, "gtid_strict_mode is on" if server.gtid_strict else "gtid_strict_mode is off")
    mode = server.gtid_mode or "OFF"
    if mode.endswith("PERMISSIVE"):
        hint = "Finish the change of gtid_mode first: SHOW GLOBAL VARIABLES LIKE 'gtid_mode'."
        return warn(GTIDS, f"gtid_mode is {mode}: the server is on its way to another mode", hint)
    if not dump.coordinates.gtids:
        return ok(GTIDS, f"gtid_mode is {mode}; the dump has no GTIDs")
    number = count(dump.coordinates.gtids.count(":"))
    if mode == "OFF" and intent.replays:
        hint = "They are replayed without their GTIDs. Replicas that ask by GTID can't follow: look at them afterwards."
        return warn(GTIDS, f"the dump comes from a server with GTIDs ({number} ranges), gtid_mode is OFF here", hint)
    return ok(GTIDS, f"gtid_mode is {mode}; GTID_PURGED of the dump ({number} ranges) is left out")
