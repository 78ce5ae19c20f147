"""The two client programs of a replay: their arguments, and what an end of theirs means.

mysqlbinlog needs no login, since it is fed by us; the client gets its own by an option file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engines.errors import Refused
from engines.mysql.errors import FULL, ROOM, meaning
from engines.mysql.flavour import Flavour
from engines.mysql.replay import told
from engines.mysql.replay.plan import Gtids, ReplayPlan
from engines.process import Command, shown
from engines.text import drawable

UTC: Final[Mapping[str, str]] = {"TZ": "UTC"}  # what mysqlbinlog says about times depends on it
_YEAR: Final = 365 * 86_400.0  # seconds: how long a replay takes is not known beforehand
_ERROR: Final = re.compile(rb"^ERROR (\d+) \(\w{5}\) at line (\d+)", re.MULTILINE)
_NO_LINE: Final = re.compile(rb"^(?:\S+: )?(?:\[?ERROR\]?:? ?)(\d+)?", re.MULTILINE | re.IGNORECASE)
_BAD: Final = re.compile(rb"error|warning", re.IGNORECASE)
_LOST: Final = (2002, 2003, 2006, 2013, 2055, 1053, 1927, 3169, 4031)
_RIGHTS: Final = (1044, 1142, 1143, 1227, 1370, 1419)
_PACKETS: Final = (1153, 2020, 1301)


@dataclass(frozen=True, slots=True)
class Programs:
    """The target's own client programs: names, or paths where they are not in PATH."""

    client: str
    mysqlbinlog: str

    @staticmethod
    def of(flavour: Flavour) -> Programs:
        """As the distributions call them. MariaDB's newer packages have no mysql* names."""
        if flavour is Flavour.MARIADB:
            return Programs("mariadb", "mariadb-binlog")
        return Programs("mysql", "mysqlbinlog")


def mysqlbinlog(plan: ReplayPlan, programs: Programs) -> Command:
    """Reads what it is fed, and writes statements."""
    arguments = ["--no-defaults", "--verify-binlog-checksum"]
    if plan.flavour is Flavour.MYSQL and plan.gtids is Gtids.FRESH:
        arguments.append("--skip-gtids")
    if plan.staged:
        arguments.append(f"--rewrite-db={plan.source}->{plan.schema}")
    return Command((programs.mysqlbinlog, *arguments, "-"), timeout=_YEAR, env=UTC)


def client(plan: ReplayPlan, programs: Programs, option_file: Path) -> Command:
    """Executes them in one connection, and stops at the first error."""
    arguments = [
        f"--defaults-file={option_file}",
        "--binary-mode",  # neither bytes nor client commands in a statement are taken for anything else
        "--batch",
        "--skip-column-names",
        "--unbuffered",
        "--skip-reconnect",  # a new connection would have neither the old one's settings nor its temporary tables
        "--max-allowed-packet=1G",
        "--connect-timeout=10",
    ]
    if not plan.binary_log:
        arguments.append("--init-command=SET SESSION sql_log_bin = 0")
    # A ~/.mylogin.cnf, which MySQL's client reads last, could lead it to another server.
    env = {**UTC, "HOME": str(option_file.parent)}
    return Command((programs.client, *arguments), timeout=_YEAR, env=env)


def may_be_rewritten(plan: ReplayPlan) -> None:
    """--rewrite-db takes FROM->TO: mariadb-binlog cuts TO at a blank, and both cut at an arrow. Refuses."""
    if not plan.staged:
        return
    if "->" in plan.source or plan.source != plan.source.strip():
        raise Refused(
            f"mysqlbinlog can't rename {drawable(plan.source)}: the name has an arrow, or blanks at an end. "
            "Nothing was changed.",
            "Restore in place.",
        )
    if "->" in plan.schema or re.search(r"\s", plan.schema):
        raise Refused(
            f"mysqlbinlog can't rename a schema to {drawable(plan.schema)}: the name has an arrow or a blank. "
            "Nothing was changed.",
            "Give the staged schema another name.",
        )


def shows(plan: ReplayPlan, programs: Programs | None = None, option_file: Path = Path("LOGIN")) -> tuple[str, ...]:
    """The replay in lines for the operator, commands as they run. Refuses what the programs can't do."""
    may_be_rewritten(plan)
    programs = programs or Programs.of(plan.flavour)
    return (
        told.amount(plan),
        f"{told.stretch(plan)}, in one session and in order",
        f"{shown(mysqlbinlog(plan, programs))} | {shown(client(plan, programs, option_file))}",
        *told.rest(plan),
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """What a program said when it failed, without a word of a row."""

    why: str
    hint: str
    line: int | None = None  # of what the client was given


def client_failure(stderr: bytes, reason: str) -> Failure:
    """`reason`: how it ended, in words."""
    found = _ERROR.search(stderr)
    if found is None:
        without = _NO_LINE.search(stderr)
        code = int(without[1]) if without and without[1] else None
        why = f"{meaning(Exception(code))} ({reason})" if code else f"the client {reason}"
        return Failure(why, _hint(code))
    code = int(found[1])
    return Failure(meaning(Exception(code)), _hint(code), int(found[2]))


def _hint(code: int | None) -> str:
    again = "Load and replay again from the start (r), or undo (u)."
    if code in _LOST or code is None:
        return f"The server or the line went away. When it is back: {again[0].lower()}{again[1:]}"
    if code in _RIGHTS:
        return f"The account lacks a right, or a statement reaches where it must not. {again}"
    if code in _PACKETS:
        return f"Raise max_allowed_packet on the server. {again}"
    if code in FULL:
        return f"{ROOM} {again}"
    return f"The data does not fit this transaction: another dump, a wrong position, or one was left out. {again}"


def mysqlbinlog_failure(stderr: bytes) -> str | None:
    """What mysqlbinlog complained of, even if it ended well: a log that is cut short is only a warning to it."""
    for line in stderr.splitlines():
        if _BAD.search(line):
            return drawable(line.decode("utf-8", "replace"))[:300]
    return None
