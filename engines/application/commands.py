"""The configured commands of an application: how they are run, and what the answer of one that asks means.

A command that changes something is run by its step; here are the questions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engines import checks
from engines.application.hosts import NOT_THERE, on_host
from engines.checks import Check, Panel, Verdict
from engines.errors import RestoreError
from engines.process import Command, Ended, captured
from engines.targets import Application
from engines.text import drawable, duration

Ask = Callable[[Command], tuple[Ended, bytes]]

# "Not so" for test(1) and pgrep(1): 1; for `systemctl is-active` and `supervisorctl status`: 3.
# Others (2, 4, 126, 127, 255) mean that the question itself failed.
_NO = (1, 3)
_NOT_ASKED = re.compile(r"^sudo: (?!unable to resolve)", re.MULTILINE)  # sudo's own no, which exits 1 too
_SEVERITY = (Verdict.OK, Verdict.WARN, Verdict.UNKNOWN, Verdict.FAIL)
_MOST = 240  # characters of output shown as evidence
# Laravel to 9.20 draws a table with Yes and No; later ones write "name ..... [1] Ran" or "name ..... Pending".
_PENDING = re.compile(r"^(?:\|\s*No\s*\|\s*(?P<old>\S+)\s*\|.*|\s*(?P<new>\S+) \.+ Pending\s*)$", re.MULTILINE)
_RAN = re.compile(r"^(?:\|\s*Yes\s*\|.*|\s*\S+ \.+ \[\d+\] Ran\s*)$", re.MULTILINE)
# `migrate --pretend`: "name: create table …" for each statement that would run, "name ....." in later Laravels.
_WOULD_RUN = re.compile(r"^\s*(\d{4}_\d\d_\d\d_\d{6}_\w+)(?:: | \.+\s*$)", re.MULTILINE)
_NOTHING = "Nothing to migrate"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. Without `ended` it could not be asked, and `output` says why."""

    ended: Ended | None
    output: str
    host: str = ""  # where it was asked; empty: here

    @property
    def known(self) -> bool:
        """Did the command itself come to an end?"""
        ended = self.ended
        if ended is None or ended.exit is None or ended.timed_out or ended.stopped:
            return False
        return not self.host or not (
            ended.exit == NOT_THERE or (ended.exit != 0 and _NOT_ASKED.search(self.output) is not None)
        )

    @property
    def evidence(self) -> str:
        """The outcome, and the end of the output."""
        if self.ended is None:
            return self._last
        return self._with_output(f"{self.ended.reason}, {duration(self.ended.seconds)}")

    def says(self, word: str) -> str:
        """The same of a command that asks: its exit alone would read like a failure where no is the good answer."""
        return self._with_output(f"the check command says {word} ({self.ended.reason if self.ended else 'not asked'})")

    def _with_output(self, how: str) -> str:
        return f"{how}: {self._last}" if self._last else how

    @property
    def _last(self) -> str:
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        last = drawable(" / ".join(lines[-3:]))
        return last if len(last) <= _MOST else "…" + last[-_MOST:]


def in_application(application: Application, argv: tuple[str, ...]) -> Command:
    """The command as it runs for this application: in its folder, as its user, within its time."""
    return Command(argv, application.path, application.user, application.timeout.total_seconds())


def everywhere(application: Application, argv: tuple[str, ...]) -> tuple[Command, ...]:
    """The command on each machine that the application's commands run on: its hosts, else this one."""
    if not application.hosts:
        return (in_application(application, argv),)
    seconds = application.timeout.total_seconds()
    return tuple(
        on_host(host, argv, folder=application.path, user=application.user, timeout=seconds)
        for host in application.hosts
    )


def on_each(name: str, commands: Sequence[Command], ask: Callable[[Command], Check]) -> Check:
    """One answer for several machines: the worst of theirs, with the names of those that gave it."""
    return worst(name, [(command.host, ask(command)) for command in commands])


def worst(name: str, answers: Sequence[tuple[str, Check]]) -> Check:
    """The worst of several machines' answers, each with its host; no host's name stands for this machine."""
    verdict = max((check.verdict for _host, check in answers), key=_SEVERITY.index)
    those = [(host, check) for host, check in answers if check.verdict is verdict]
    told = "; ".join(f"{host}: {check.evidence}" if host else check.evidence for host, check in those)
    return replace(those[0][1], name=name, evidence=told)


def answer(command: Command, ask: Ask = captured) -> Answer:
    """What the command says; never raises for what keeps it from being asked."""
    try:
        ended, output = ask(command)
    except RestoreError as error:
        return Answer(None, error.message, command.host)
    return Answer(ended, output.decode(errors="replace"), command.host)


def succeeds(name: str, command: Command, hint: str, *, ask: Ask = captured, panel: Panel = Panel.VALIDATION) -> Check:
    """Does the command say yes (exit 0)? For smoke tests, health checks, "the workers run"."""
    said = answer(command, ask)
    if not said.known:
        return checks.unknown(name, said.evidence, hint, panel)
    if said.ended and said.ended.ok:
        return checks.ok(name, said.evidence, panel)
    return checks.fail(name, said.evidence, hint, panel)


def denies(name: str, command: Command, hint: str, *, ask: Ask = captured, panel: Panel = Panel.VALIDATION) -> Check:
    """Does the command say no? "The workers run" must be wrong once they are stopped.

    Only an exit of 1 or 3 is a no: a question that is missing or broken proves nothing.
    """
    said = answer(command, ask)
    if said.ended and said.ended.ok:
        return checks.fail(name, said.says("yes"), hint, panel)
    if said.known and said.ended and said.ended.exit in _NO and not said.ended.flooded:
        return checks.ok(name, said.says("no"), panel)
    return checks.unknown(name, f"{said.evidence} (neither yes, 0, nor no, 1 or 3)", hint, panel)


def migrations(command: Command, *, ask: Ask = captured, panel: Panel = Panel.VALIDATION) -> Check:
    """Is the restored schema the one that the code expects?

    Reads what `migrate:status` or `migrate --pretend` answers; both exit 0 either way.
    """
    name = "migrations"
    said = answer(command, ask)
    if not said.known:
        return checks.unknown(name, said.evidence, "Correct `migrations` in the configuration.", panel)
    if not (said.ended and said.ended.ok):
        hint = "Run it by hand; a database without its migrations table is not this application's."
        return checks.fail(name, said.evidence, hint, panel)
    pending = [drawable(found["old"] or found["new"]) for found in _PENDING.finditer(said.output)]
    ran = len(_RAN.findall(said.output))
    pretended = not (pending or ran)
    if pretended:
        pending = [drawable(found) for found in dict.fromkeys(_WOULD_RUN.findall(said.output))]
    if pending:
        more = f" and {len(pending) - 3} more" if len(pending) > 3 else ""
        rest = "" if pretended else f", {ran} ran"
        return checks.fail(
            name,
            f"{len(pending)} pending ({', '.join(pending[:3])}{more}){rest}",
            "The backup is older than the code: run the pending migrations, or deploy the code of its time.",
            panel,
        )
    if pretended and _NOTHING in said.output:
        return checks.ok(name, "nothing to migrate", panel)
    if not ran:
        hint = "Read the answer by hand; `migrations` may be another command than migrate:status or migrate --pretend."
        return checks.unknown(name, f"{said.evidence} (no migration in the answer)", hint, panel)
    return checks.ok(name, f"{ran} ran, none pending", panel)
