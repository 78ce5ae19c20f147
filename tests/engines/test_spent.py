"""Where time went, as it is told."""

from __future__ import annotations

import pytest

from engines.spent import Spent, told


def test_shares_are_told_in_their_order_and_what_took_no_time_is_left_out() -> None:
    seconds = {"read": 0.2, "send": 1.1, "server": 6.2, "indexes": 2.5}
    assert told(seconds) == "time: read 2 %, send 11 %, server 62 %, indexes 25 %"
    assert told({"hash": 4.0, "disk": 0.001, "download": 0.0}) == "time: hash 100 %, disk under 1 %"
    assert told({"hash": 0.0}) == "time: none to speak of"


def test_seconds_of_several_side_by_side_are_divided_by_their_number() -> None:
    spent = Spent("download", "hash")
    for _ in range(4):
        spent.add("download", 8.0, side_by_side=4)
    spent.add("hash", 2.0)
    spent.add("hash", -0.001)
    assert spent.seconds == {"download": 8.0, "hash": 2.0}
    assert str(spent) == "time: download 80 %, hash 20 %"


def test_what_fails_took_its_time_too() -> None:
    spent = Spent("disk")
    with pytest.raises(OSError), spent.on("disk"):  # noqa: PT011 - whatever fails
        raise OSError
    assert spent.seconds["disk"] > 0
