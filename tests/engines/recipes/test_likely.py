"""Which restore point is offered first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from engines.backups.catalogue import Backup, Catalogue, Status
from engines.recipes.points import likely
from tests.engines.backups.folder import NOON, copy


def snapshot(hours_ago: float) -> Backup:
    return replace(copy(hours_ago), kind="safety snapshot", name=f"kept {hours_ago}")


def first(*backups: Backup, before: datetime | None = None, chosen: str = "") -> Backup | None:
    newest_first = sorted(backups, key=lambda backup: backup.taken_at, reverse=True)
    return likely(Catalogue("/srv", tuple(newest_first), ()), before, chosen)


UNREAD, BAD = copy(1, Status.UNCHECKED), copy(1, Status.MISMATCH)


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ((copy(1), copy(2)), copy(1)),
        ((BAD, copy(2)), copy(2)),
        ((UNREAD, copy(2)), copy(2)),
        ((UNREAD, copy(2, Status.UNCHECKED)), UNREAD),
        ((UNREAD, copy(2, Status.MISMATCH)), UNREAD),
        ((BAD, copy(2, Status.NOT_LISTED)), BAD),
        ((snapshot(0), copy(1), copy(2)), copy(1)),
        ((snapshot(0), BAD), BAD),
        ((snapshot(0), snapshot(1)), snapshot(0)),
        ((), None),
    ],
)
def test_the_newest_good_one_comes_first_and_what_was_kept_last(
    there: tuple[Backup, ...], wanted: Backup | None
) -> None:
    assert first(*there) == wanted


def test_what_is_from_after_the_incident_is_not_offered() -> None:
    start = NOON - timedelta(hours=1.5)
    assert first(copy(1), copy(2), before=start) == copy(2)
    assert first(copy(1), snapshot(0), before=start) is None


def test_what_is_chosen_already_stays_the_one() -> None:
    assert first(copy(1), copy(2), chosen=copy(2).name) == copy(2)
