"""Who may say what: configured roles, the names that people go by, and nobody yes to a plan of their own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from engines.errors import Refused
from engines.people import Role
from engines.session import commands as c
from engines.session.events import Actor, How
from engines.session.plan import GateKind
from engines.session.state import SessionState


def roles_of(state: SessionState, name: str) -> tuple[str, ...]:
    """The configured roles of the person with this name or login."""
    person = _person(state, name)
    return _roles(person) if person else ()


def names_for(state: SessionState, role: Role) -> tuple[str, ...]:
    """Who is configured for a role on this target; empty when anybody's name will do."""
    people = state.begun.people if state.begun else ()
    names = (str(person.get("name", "")) for person in people)
    return tuple(name for name in names if role.value in roles_of(state, name))


def check_name(state: SessionState, role: Role, actor: Actor) -> None:
    """Raise Refused for nobody's name, and for one that is not configured for the role."""
    name = actor.name
    if actor.how is How.PEER:  # by login alone: a name may be like somebody else's login
        if role.value not in roles_of_login(state, actor.login):
            raise Refused(
                f"{actor.login} is not configured as {role}. Nothing was changed.",
                f"Configured: {', '.join(names_for(state, role)) or 'nobody'}.",
            )
        return
    if not name.strip():
        raise Refused(f"The {role} is named. Nothing was changed.", "Type the name of who says so.")
    listed = names_for(state, role)
    if listed and role.value not in roles_of(state, name):
        raise Refused(
            f"{name.strip()} is not configured as {role}. Nothing was changed.",
            f"Configured: {', '.join(listed)}.",
        )


def role_for(command: c.Command) -> Role | None:
    """In which role a command is given; None where any will do."""
    match command:
        case c.Approve() | c.Override():
            return Role.COMMANDER
        case c.Give(gate=GateKind.ACCEPT | GateKind.SIGN_OFF, role=role):
            return role
        case c.Answer():
            return Role.OWNER
        case c.Note() | c.FollowUp() | c.FileTickets():
            return None
        case _:
            return Role.OPERATOR


def check_may(state: SessionState, command: c.Command, actor: Actor) -> None:
    """Raise Refused for a login of another account that only watches, or has another role than the command's.

    The runner's own account, and root, could do all of it without asking: they are asked for names instead.
    """
    if actor.how is not How.PEER:
        return
    roles = roles_of_login(state, actor.login)
    wanted = role_for(command)
    if getattr(command, "signature", None) is not None and roles:
        return  # whoever brings it: the key has the say
    if wanted is None and roles:
        return
    if wanted is None or wanted.value not in roles:
        is_in = f"is configured as {' and '.join(roles)}" if roles else "may only watch"
        raise Refused(
            f"Your login {actor.login} {is_in}; this takes {_a(wanted) if wanted else 'a role'}. Nothing was changed.",
            "Ask one of them, or mend [[person]] in the configuration: it holds from the next session on.",
        )


def roles_of_login(state: SessionState, login: str) -> tuple[str, ...]:
    """The configured roles of everybody with exactly this login; what is a name of somebody else gives none."""
    people = state.begun.people if state.begun else ()
    found = [role for one in people if one.get("login") == login for role in _roles(one)]
    return tuple(dict.fromkeys(found))


def person_with(people: Iterable[Mapping[str, object]], login: str, said: str) -> str:
    """The name of who has this login; where several share it, the one that was said, if it is one of theirs."""
    names = [str(one.get("name", "")) for one in people if one.get("login") == login]
    return next((name for name in names if _folded(name) == _folded(said)), names[0] if names else login)


def principals_for(state: SessionState, role: Role, typed: str) -> tuple[str, ...]:
    """The names in the file of signers of those who have this role; of one of them only, where a name is given."""
    people = [one for one in (state.begun.people if state.begun else ()) if role.value in _roles(one)]
    if typed.strip():
        people = [one for one in people if _folded(typed) in _names_of(one)]
    return tuple(str(one.get("principal") or one.get("login", "")) for one in people)


def person_of(state: SessionState, principal: str) -> str:
    """The name of the person whom the file of signers knows as `principal`."""
    people = state.begun.people if state.begun else ()
    found = (one for one in people if (one.get("principal") or one.get("login")) == principal)
    return next((str(one.get("name", "")) for one in found), principal)


def speaker(state: SessionState, actor: Actor, typed: str) -> Actor:
    """Who says it. A name that is typed counts where nothing better is known, and nowhere else.

    Raises Refused where another name is typed than the one that was established.
    """
    if actor.how is How.ASSERTED:
        return replace(actor, name=typed.strip())
    if typed.strip() and _folded(typed) not in _known_as(state, actor.name):
        raise Refused(
            f"This comes from {actor.name} ({actor.how}), and names {typed.strip()}. Nothing was changed.",
            "Leave the name away: it is known who you are.",
        )
    return actor


def check_established(state: SessionState, actor: Actor, reason: str = "") -> None:
    """Raise Refused for a name that was only typed, where the configuration wants more than that.

    An operator who breaks the glass, with a reason, speaks for nobody else: that name may be typed.
    """
    asked_for = state.begun is not None and state.begun.approval.get("asserted") is False
    alone = bool(reason.strip()) and is_own(state, actor.name) and may_break_glass(state)
    if asked_for and actor.how is How.ASSERTED and not alone:
        raise Refused(
            "A typed name is not enough here: the configuration says asserted = false. Nothing was changed.",
            "Say it from a login of your own (the commands approve and sign-off), or with a signature.",
        )


def is_own(state: SessionState, name: str) -> bool:
    """Would this person say yes to their own work, in an environment that does not allow it?

    An operator is whoever began the session, and whoever has held the keyboard since.
    """
    begun = state.begun
    if begun is None or _alone_allowed(state):
        return False
    operators = [begun.operator, *(taken.actor for _, taken in state.handovers), state.keyboard or begun.operator]
    behind = [operator.sudo for operator in operators if operator.sudo]
    known = (_known_as(state, called) for called in (*(operator.name for operator in operators), *behind))
    return bool(_known_as(state, name) & set().union(*known))


def may_break_glass(state: SessionState) -> bool:
    """May an operator say yes alone, with a reason that goes to the head of the record?"""
    return state.begun is not None and bool(state.begun.approval.get("break_glass")) and not _alone_allowed(state)


def check_not_own(state: SessionState, name: str, what: str, reason: str) -> None:
    """Raise Refused where an operator says yes alone, unless that is configured as break-glass and has its reason.

    `what` goes on from "the operator does not": "approve their own plan".
    """
    if not is_own(state, name):
        return
    environment = state.begun.environment if state.begun else ""
    if not may_break_glass(state):
        raise Refused(
            f"In {environment} the operator does not {what}. Nothing was changed.",
            "Ask the incident commander. A night without one needs break_glass in the configuration.",
        )
    if len(reason.strip()) < 3:
        raise Refused(
            f"In {environment} an operator can {what} only as break-glass, and it needs a reason. Nothing was changed.",
            "Type why no incident commander could be reached.",
        )


def _a(role: Role) -> str:
    return f"{'an' if str(role)[0] in 'aeiou' else 'a'} {role}"


def _roles(person: Mapping[str, object]) -> tuple[str, ...]:
    roles = person.get("roles", ())
    return tuple(str(role) for role in roles) if isinstance(roles, (list, tuple)) else ()


def _alone_allowed(state: SessionState) -> bool:
    begun = state.begun
    allowed = begun.approval.get("self_approval", ()) if begun else ()
    return begun is not None and isinstance(allowed, (list, tuple)) and begun.environment in allowed


def _person(state: SessionState, name: str) -> Mapping[str, object] | None:
    people = state.begun.people if state.begun else ()
    return next((person for person in people if _folded(name) in _names_of(person)), None)


def _names_of(person: Mapping[str, object]) -> set[str]:
    return {_folded(str(person.get("name", ""))), _folded(str(person.get("login", "")))} - {""}


def _known_as(state: SessionState, name: str) -> set[str]:
    """Everything that the person with this name or login may be called."""
    person = _person(state, name)
    return _names_of(person) if person else {_folded(name)}


def _folded(name: str) -> str:
    return name.strip().casefold()
