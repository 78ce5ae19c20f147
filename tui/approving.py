"""`reinstate approve` and `reinstate sign-off`: a yes from somebody's own login, or signed elsewhere and brought here.

It decides nothing: what is shown is the fold of the runner's events, and what is allowed the runner says.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from engines.config import Config
from engines.errors import Refused, RestoreError, UsageError
from engines.people import Role
from engines.recipes import sessions
from engines.session import commands as c
from engines.session import store
from engines.session.authority import is_own, names_for
from engines.session.client import Client, connect
from engines.session.events import Actor, How
from engines.session.moves import DEFAULT_WINDOW, Ask, AskKind, Wait, check_command, next_move, overriding
from engines.session.plan import GateKind
from engines.session.sockets import one_served
from engines.session.ssh_keys import LARGEST
from engines.session.state import SessionState
from engines.session.statement import Signable, seen_in, stated, until_of
from engines.text import clock, drawable, parse_stamp, stamp, utc_now
from tui.narration import check_line, grid_lines, header, plan_lines
from tui.output import out, tell
from tui.steering import configured, privileged

DONE, LEFT = 0, 3
_SIG = ".sig"
_ARMOUR = "-----BEGIN SSH SIGNATURE-----"


def approve(arguments: argparse.Namespace) -> int:
    """Approve the plan, accept the risk that a step states, or override a check: whatever waits for that."""
    return asyncio.run(_say(arguments, signing_off=False))


def sign_off(arguments: argparse.Namespace) -> int:
    return asyncio.run(_say(arguments, signing_off=True))


async def _say(arguments: argparse.Namespace, *, signing_off: bool) -> int:
    client = await _reached(arguments)
    try:
        command = _wanted(arguments, client.state, signing_off=signing_off)
        if arguments.print:
            return _print(client, command)
        if arguments.signature:
            return await _bring(arguments, client, command)
        return await _ask(arguments, client, command)
    finally:
        await client.close()


# -- where the session is ---------------------------------------------------------------------------------


async def _reached(arguments: argparse.Namespace) -> Client:
    """The session that is meant, over its runner's socket: its folder need not be readable for this login."""
    wanted, config = arguments.session, configured(arguments)
    name = getattr(arguments, "name", "") or sessions.login()
    folder = _folder(wanted, config)
    if folder is not None:
        store.refuse_untrusted(folder, privileged=privileged())
        socket = store.living_socket(folder)
        if not socket:
            raise RestoreError(
                f"No runner of session {folder.name} answers. Nothing was changed.",
                f"Its operator resumes it: reinstate resume {folder.name}",
            )
        return await connect(socket, name)
    served = one_served(config.state if config else None, wanted)
    if served is None:
        raise UsageError(
            f"No session{'' if wanted == 'last' else f' {wanted!r}'} answers that this login may reach. "
            "Nothing was changed.",
            "Is this login in the group `watchers`, and was the configuration given (--config)?",
        )
    return await connect(str(served.socket), name)


def _folder(wanted: str, config: Config | None) -> Path | None:
    """The session's folder, where this login can look into it."""
    if "/" in wanted:
        return Path(wanted).resolve()
    if config is None:
        return None
    try:
        known = store.find(config.state, wanted)
    except RestoreError:
        return None
    return known.folder if not known.error else None


# -- what is said -----------------------------------------------------------------------------------------


def _wanted(arguments: argparse.Namespace, state: SessionState, *, signing_off: bool) -> Signable:
    """The command for what the session waits for now. Raises Refused where it waits for something else."""
    typed = getattr(arguments, "name", "")
    if not signing_off and arguments.override:
        if not arguments.reason:
            raise UsageError("An override needs a reason. Nothing was changed.", "--reason TEXT")
        return overriding(state, arguments.override, typed, arguments.reason)
    move = next_move(state, utc_now())
    ask = move.ask if isinstance(move, Wait) else None
    if signing_off and ask is not None and ask.kind is AskKind.SIGN_OFF:
        return c.Give(ask.step, GateKind.SIGN_OFF, ask.role, typed)
    if not signing_off and ask is not None and ask.kind is AskKind.ACCEPT:
        return c.Give(ask.step, GateKind.ACCEPT, ask.role, typed)
    if not signing_off and state.ended is None and (ask is None or ask.kind is not AskKind.SIGN_OFF):
        return c.Approve(state.plan_digest, typed)  # the session's rules say why it can't be approved now
    what = "a sign-off" if signing_off else "an approval"
    waits = ask.text if ask is not None else "It is about to go on by itself."
    raise Refused(f"The session does not wait for {what} now. Nothing was changed.", waits)


def _print(client: Client, command: Signable) -> int:
    """What has to be signed, on standard output and exactly as it is; how, beside it."""
    state = client.state
    somebody = _anybody(state, command)
    check_command(state, replace(command, name=somebody), Actor(somebody, "", How.SIGNED), utc_now())
    window = state.begun.approval.get("window_seconds") if state.begun else None
    seconds = float(window) if isinstance(window, (int, float)) else DEFAULT_WINDOW
    until = stamp((utc_now() + timedelta(seconds=seconds)).replace(microsecond=0))
    statement = stated(state, command, until)
    sys.stdout.write(statement.text)
    tell(f"Sign exactly these lines: ssh-keygen -Y sign -f KEY -n {statement.namespace} FILE")
    again = "sign-off" if statement.says == "sign off" else "approve"
    tell(f"Then bring it back: reinstate {again} {state.id} --signature FILE.sig (FILE beside it), or both on -")
    return DONE


async def _bring(arguments: argparse.Namespace, client: Client, command: Signable) -> int:
    text, armoured = _signed_text(arguments.signature)
    if isinstance(command, c.Override):  # what was read when it was printed, whatever the check says by now
        command = replace(command, seen=seen_in(text, command.check))
    await client.do(replace(command, signature=c.Signature(armoured, until_of(text))))
    _done(client.state, command)
    return DONE


def _signed_text(given: str) -> tuple[str, str]:
    """The text that was signed, and the signature: in one file or paste, or in FILE beside FILE.sig."""
    content = sys.stdin.read(2 * LARGEST) if given == "-" else _read(Path(given))
    text, armour, signature = content.partition(_ARMOUR)
    if not armour:
        raise UsageError(f"There is no SSH signature in {given}. Nothing was sent.", f"It begins with {_ARMOUR}.")
    if not text.strip():
        if given == "-" or not given.endswith(_SIG):
            raise UsageError(
                "The signature came without the text that was signed. Nothing was sent.",
                "Give both, the text first; or name FILE.sig and leave FILE beside it.",
            )
        text = _read(Path(given.removesuffix(_SIG)))
    return text.replace("\r\n", "\n").strip() + "\n", armour + signature


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(2 * LARGEST).decode(errors="replace")
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}. Nothing was sent.", "Name another file.") from error


async def _ask(arguments: argparse.Namespace, client: Client, command: Signable) -> int:
    """Show what is agreed to, have the target's name typed, and say it."""
    state = client.state
    if client.me.how is How.ASSERTED and not command.name:
        check_command(state, replace(command, name=_anybody(state, command)), client.me, utc_now())
    else:
        check_command(state, command, client.me, utc_now())
    for line in _card(client, command):
        out(line)
    if arguments.yes is None:
        if client.me.how is How.ASSERTED and not command.name:
            command = replace(command, name=await _typed(f"Name of the {_role(command)}: "))
        typed = await _typed(f"Type the target's name to {_verb(command)}, or Enter to leave it: ")
    else:
        typed = arguments.yes
        _check_plan_named(arguments.plan, state)
    target = str(state.begun.target.get("name", "")) if state.begun else ""
    if not typed.strip():
        tell("Left as it is. Nothing was changed.")
        return LEFT
    if typed.strip() != target:
        raise Refused("That is not the target's name. Nothing was changed.", f"Type {target} exactly.")
    if client.state.plan_digest != state.plan_digest:
        raise Refused("The plan has changed meanwhile. Nothing was changed.", "Read the new one: say it again.")
    await client.do(command)
    _done(client.state, command)
    return DONE


def _anybody(state: SessionState, command: Signable) -> str:
    """A name that the rule about names lets pass: who it is gets typed once everything was read."""
    listed = sorted(names_for(state, _role(command)), key=lambda name: is_own(state, name))
    return listed[0] if listed else "somebody"


def _check_plan_named(named: str | None, state: SessionState) -> None:
    """Without a person who reads, the plan that was read is named: whatever is in force would be approved else."""
    if not named or len(named) < 12:
        raise UsageError(
            "--yes needs --plan with at least 12 digits of the plan's sha256. Nothing was changed.",
            f"In force is {state.plan_digest}.",
        )
    if not state.plan_digest.startswith(named.lower()):
        raise Refused(
            f"The plan in force is {state.plan_digest[:12]}, not {drawable(named[:12])}. Nothing was changed.",
            "Read the plan in force, then name that one.",
        )


async def _typed(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.rstrip("\n")


def _card(client: Client, command: Signable) -> Iterator[str]:
    """What is agreed to: the plan with identity, estimate and loss; the checks; the validation; the words."""
    state = client.state
    yield header(state)
    yield f"You are {drawable(_as(client.me))}"
    if state.plan is not None:
        yield from plan_lines(state.plan, state.plan_digest)
    for known in state.checks.values():
        overridden = f" (overridden by {known.override.actor.name})" if known.override else ""
        yield drawable(f"{check_line(known.check)}{overridden}")
    for grid in state.grids.values():
        yield from (drawable(line) for line in grid_lines(grid))
    for deviation in state.deviations:
        yield drawable(f"DEVIATION {clock(deviation.at)} {deviation.what}, {deviation.by}: {deviation.reason}")
    move = next_move(state, utc_now())
    if isinstance(move, Wait):
        yield drawable(_waits(move.ask))


def _waits(ask: Ask) -> str:
    return f"{ask.step} {ask.text}".strip()


def _as(me: Actor) -> str:
    if me.how is How.PEER:
        return f"{me.name}, by the login {me.login} (recorded as peer)"
    return f"on the account {me.login} that runs the session, or root: a name is typed (recorded as asserted)"


def _role(command: Signable) -> Role:
    return command.role if isinstance(command, c.Give) else Role.COMMANDER


def _verb(command: Signable) -> str:
    match command:
        case c.Approve():
            return "approve exactly this plan"
        case c.Override(check=check):
            return f"override {drawable(check)}"
        case c.Give(step=step, gate=gate):
            return f"{'sign off' if gate is GateKind.SIGN_OFF else 'accept'} {step}"


def _done(state: SessionState, command: Signable) -> None:
    """What the session made of it."""
    match command:
        case c.Approve() if state.approval is not None:
            given = state.approval
            until = clock(parse_stamp(given.until))
            out(
                drawable(
                    f"Approved by {given.actor.name} ({given.actor.how}), plan {given.digest[:16]}…, until {until}"
                )
            )
        case c.Give(step=step):
            known = state.step(step)
            gate = known.gates[-1] if known is not None and known.gates else None
            if gate is not None:
                out(drawable(f"{step} {gate.gate}: {gate.actor.name} ({gate.actor.how}), {gate.role}"))
        case c.Override(check=check):
            override = state.checks[check].override if check in state.checks else None
            if override is not None:
                out(drawable(f"Overridden by {override.actor.name} ({override.actor.how}): {check}"))
        case _:
            out("Done.")


COMMANDS = {"approve": approve, "sign-off": sign_off}
