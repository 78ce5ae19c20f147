"""Who may say yes: configured roles, the names that people go by, and nobody to a plan of their own. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from engines.errors import Refused
from engines.people import Role
from engines.session.events import Actor, How
from engines.session.state import SessionState


def roles_of(state: SessionState, name: str) -> tuple[str, ...]:
    """The configured roles of the person with this name or login."""
    person = _person(state, name)
    roles = person.get("roles", ()) if person else ()
    return tuple(str(role) for role in roles) if isinstance(roles, (list, tuple)) else ()


def names_for(state: SessionState, role: Role) -> tuple[str, ...]:
    """Who is configured for a role on this target; empty when anybody's name will do."""
    people = state.begun.people if state.begun else ()
    names = (str(person.get("name", "")) for person in people)
    return tuple(name for name in names if role.value in roles_of(state, name))


def check_name(state: SessionState, role: Role, name: str) -> None:
    """Raise Refused for nobody's name, and for one that is not configured for the role."""
    if not name.strip():
        raise Refused(f"The {role} is named. Nothing was changed.", "Type the name of who says so.")
    listed = names_for(state, role)
    if listed and role.value not in roles_of(state, name):
        raise Refused(
            f"{name.strip()} is not configured as {role}. Nothing was changed.",
            f"Configured: {', '.join(listed)}.",
        )


def check_established(state: SessionState, actor: Actor) -> None:
    """Raise Refused for a name that was only typed, where the configuration wants more than that."""
    if state.begun is not None and state.begun.approval.get("asserted") is False and actor.how is How.ASSERTED:
        raise Refused(
            "A typed name is not enough here: the configuration says asserted = false. Nothing was changed.",
            "Say it from a login of your own, or with a signature.",
        )


def is_own(state: SessionState, name: str) -> bool:
    """Would this person say yes to their own work, in an environment that does not allow it?

    An operator is whoever began the session, and whoever has held the keyboard since.
    """
    begun = state.begun
    if begun is None or _alone_allowed(state):
        return False
    operators = [begun.operator, *(taken.actor for _, taken in state.handovers), state.keyboard or begun.operator]
    return _folded(name) in set().union(*(_known_as(state, operator.name) for operator in operators))


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
