"""The people of a recovery and the three roles of the runbook.

How somebody's identity was established belongs to the session; here is only who is configured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    COMMANDER = "incident commander"  # authorises the restore and its window, announces completion
    OPERATOR = "database operator"  # executes the steps
    OWNER = "application owner"  # validates and signs off


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may act in a role."""

    name: str
    """The name that the record shows."""

    login: str
    """The login on this machine, as peer credentials or sudo tell it."""

    roles: tuple[Role, ...]
    """What this person may do: commander, operator, owner. One person may have several roles."""

    targets: tuple[str, ...] = ()
    """The targets for which this holds. Empty: all of them."""

    principal: str = ""
    """The name in the file of signers, where that is not the login."""


def in_role(people: Iterable[Person], role: Role, target: str) -> tuple[Person, ...]:
    """Those who may act as `role` for the target of that name, in configured order."""
    return tuple(p for p in people if role in p.roles and (not p.targets or target in p.targets))
