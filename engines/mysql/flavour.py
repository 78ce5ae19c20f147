"""Which server speaks: MySQL or MariaDB, and its version.

Versions are compared within a flavour only: MySQL's are calendar-based from 26.7 on, and MariaDB's count on their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from engines.text import drawable

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


class Flavour(StrEnum):
    MYSQL = "mysql"
    MARIADB = "mariadb"

    @property
    def shown(self) -> str:
        return "MySQL" if self is Flavour.MYSQL else "MariaDB"


@dataclass(frozen=True, slots=True)
class Version:
    flavour: Flavour
    numbers: tuple[int, ...]  # (10, 11, 19)
    text: str  # as the server writes it

    def at_least(self, flavour: Flavour, *numbers: int) -> bool:
        """Is it this flavour, in this version or a later one?"""
        return self.flavour is flavour and self.numbers >= numbers

    def __str__(self) -> str:
        return f"{self.flavour.shown} {'.'.join(map(str, self.numbers))}"


def parse_version(text: str, comment: str = "") -> Version | None:
    """The version in `SELECT VERSION()` or a dump's header; `comment` is @@version_comment. None: there is none.

    A MariaDB server tells old clients 5.5.5-10.11.6-MariaDB: the number after the prefix is its own.
    """
    flavour = Flavour.MARIADB if "mariadb" in f"{text} {comment}".lower() else Flavour.MYSQL
    told = text.removeprefix("5.5.5-") if flavour is Flavour.MARIADB else text
    found = _NUMBERS.search(told)
    if found is None:
        return None
    return Version(flavour, tuple(int(number) for number in found.groups() if number), drawable(text))
