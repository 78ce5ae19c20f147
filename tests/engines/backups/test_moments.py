"""The moments that backup tools write into names."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backups.moments import named

EIGHT = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "name",
    [
        "2026-11-22T20-00-00Z.sqlite",
        "2026-11-22T20:00:00Z.sqlite",
        "2026-11-22T20-00-00.000Z.sqlite",
        "caope-2026-11-22_20-00-00.sqlite",
        "2026-11-22-20-00-00.zip",
        "20261122-200000.sqlite",
        "20261122T200000Z.sqlite",
        "20261122200000.sqlite",
        "202611222000.sqlite",
        "backup_20261122_2000.sqlite",
        "2026.11.22 20.00.00.sqlite",
        "2026_11_22_200000.sqlite",
        "db-1795377600.sqlite",
        "db-1795377600123.sqlite",
        "2026-11-22T21-00-00+01:00.sqlite",
        "2026-11-22T15-00-00-0500.sqlite",
        "2026-11-22T20:00Z.sqlite",
        "v20261399-2026-11-22T20-00-00Z.sqlite",
        "20261122-200000-0100.sqlite",
        "20261122-200000-01.sqlite",
    ],
)
def test_a_time_in_a_name_is_found(name: str) -> None:
    moment = named(name)
    assert moment is not None
    assert moment.at == EIGHT
    assert moment.has_time


@pytest.mark.parametrize(
    "name",
    [
        "backup.sqlite",
        "2026.sqlite",
        "20261332.sqlite",
        "2026112220.sqlite",
        "9999999999.sqlite",
        "1234567890123456.sqlite",
        "\u0662\u0660\u0662\u0666-\u0661\u0661-\u0662\u0662.sqlite",  # 2026-11-22 in Arabic digits
        "2026-1122.sqlite",
    ],
)
def test_a_name_without_a_moment_tells_none(name: str) -> None:
    assert named(name) is None


@pytest.mark.parametrize(
    "name", ["2026-11-22.sqlite", "caope_20261122.sqlite", "20261122-9999.sqlite", "2026-11-22-1.sqlite"]
)
def test_a_date_alone_is_midnight_and_says_so(name: str) -> None:
    moment = named(name)
    assert moment is not None
    assert moment.at == datetime(2026, 11, 22, tzinfo=UTC)
    assert not moment.has_time


def test_a_name_without_a_zone_is_in_the_configured_one() -> None:
    moment = named("2026-11-22_21-00-00.sqlite", BERLIN)
    assert moment is not None
    assert moment.at == EIGHT


def test_a_name_with_a_zone_of_its_own_keeps_it() -> None:
    moment = named("2026-11-22T20-00-00Z.sqlite", BERLIN)
    assert moment is not None
    assert moment.at == EIGHT


def test_an_hour_that_the_clock_shows_twice_is_the_earlier_one() -> None:
    moment = named("2026-10-25_02-30-00.sqlite", BERLIN)
    assert moment is not None
    assert moment.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@given(st.text(alphabet="0123456789-_T:Z+. ", max_size=60))
def test_no_name_raises(name: str) -> None:
    moment = named(name, BERLIN)
    assert moment is None or moment.at.tzinfo is UTC
