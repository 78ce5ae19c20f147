"""What the application owner tries by hand: checks that are answered by name instead of asked of a machine. Pure."""

from __future__ import annotations

from engines import checks
from engines.checks import Check, Panel

_PREFIX = "functional: "


def name_of(tried: str) -> str:
    """`functional: payment flow`."""
    return f"{_PREFIX}{tried}"


def is_functional(check: str) -> bool:
    return check.startswith(_PREFIX)


def bare(check: str) -> str:
    """`payment flow`."""
    return check.removeprefix(_PREFIX)


def functional_check(tried: str) -> Check:
    """The check before anybody has answered it."""
    hint = "The application owner tries it and answers by name: passed or failed (f)."
    return checks.unknown(name_of(tried), "not answered yet", hint, Panel.VALIDATION)


def answered(check: str, *, passed: bool, note: str, by: str) -> Check:
    """The check as it was answered."""
    told = f": {note}" if note else ""
    if passed:
        return checks.ok(check, f"passed, says {by}{told}", Panel.VALIDATION)
    hint = "Mend it and have it tried again (f), or the incident commander overrides by name."
    return checks.fail(check, f"failed, says {by}{told}", hint, Panel.VALIDATION)
