"""The names of a session's schemas fit every server, and are told apart."""

from __future__ import annotations

import pytest

from engines.mysql.stage.names import names


def test_they_carry_the_database_and_the_session() -> None:
    made = names("shop", "7f3a")
    assert (made.stage, made.parked, made.account) == ("shop_r7f3a_new", "shop_r7f3a_old", "reinstate_7f3a")


@pytest.mark.parametrize("database", ["x" * 64, "商" * 64, "Shop " + "é" * 58])
def test_a_long_name_is_cut_so_that_schema_and_folder_fit(database: str) -> None:
    made = names(database, "7f3a")
    for name, ending in ((made.stage, "_r7f3a_new"), (made.parked, "_r7f3a_old")):
        assert len(name) <= 64
        assert name.endswith(ending)
        folder = sum(1 if letter.isascii() and (letter.isalnum() or letter == "_") else 5 for letter in name)
        assert folder <= 255


def test_what_is_no_token_is_no_name() -> None:
    with pytest.raises(ValueError, match="token"):
        names("shop", "x`;--")
