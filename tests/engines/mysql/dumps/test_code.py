"""What of a dump is code, in whose schema it is made, and what an event's status is."""

from __future__ import annotations

import pytest

from engines.errors import Refused
from engines.mysql.dumps.code import Kind, charset_of, is_code, making, mentions, requalified, sets_only, with_status
from engines.mysql.dumps.statements import Statement

TRIGGER = (
    b"/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER %s BEFORE INSERT ON %s FOR EACH ROW "
    b"SET NEW.a = 1 */"
)
EVENT = (
    "CREATE DEFINER=`root`@`localhost` EVENT `ON COMPLETION` ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' "
    "ON COMPLETION NOT PRESERVE {} COMMENT 'PRESERVE ENABLE DO' DO SET @a = 'ON COMPLETION PRESERVE ENABLE'"
)


def statement(text: bytes) -> Statement:
    return Statement(0, len(text), 1, text)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (TRIGGER % (b"`a`", b"`t`"), Kind.TRIGGER, "a"),
        (b"CREATE DEFINER=`a`@`%` FUNCTION `twice`(n int) RETURNS int RETURN 1", Kind.FUNCTION, "twice"),
        (b"CREATE PROCEDURE `p``q`() SELECT 1", Kind.PROCEDURE, "p`q"),
        (b'CREATE DEFINER="a"@"%" FUNCTION "an""si"(n int) RETURNS int RETURN 1', Kind.FUNCTION, 'an"si'),
        (
            b"/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`a b`@`localhost` SQL SECURITY DEFINER */\n"
            b"/*!50001 VIEW `v` AS select 1 AS `id` */",
            Kind.VIEW,
            "v",
        ),
        (b"/*!50001 CREATE VIEW `v` AS SELECT\n 1 AS `id` */", Kind.VIEW, "v"),
        (
            b"/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`b`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY */",
            Kind.EVENT,
            "e",
        ),
        (b"CREATE DEFINER=`a`@`b` PACKAGE BODY `k` AS END", Kind.PACKAGE_BODY, "k"),
        (b"/*!50003 DROP PROCEDURE IF EXISTS `p` */", Kind.PROCEDURE, "p"),
        (b"/*!50001 DROP VIEW IF EXISTS `v`*/", Kind.VIEW, "v"),
    ],
)
def test_what_a_dump_program_writes_is_understood(text: bytes, kind: Kind, name: str) -> None:
    assert is_code(text)
    found = making(statement(text), "shop")
    assert found is not None
    assert (found.kind, found.name, found.text) == (kind, name, text)
    assert found.drops is (b"DROP" in text)


@pytest.mark.parametrize(
    "text",
    [
        b"CREATE TABLE `view` (`trigger` int COMMENT 'CREATE VIEW x')",
        b"DROP TABLE IF EXISTS `procedure`",
        b"CREATE SEQUENCE `event` start with 1",
        b"/*!40000 ALTER TABLE `view` DISABLE KEYS */",
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `trigger`",
        b"CREATE TEMPORARY TABLE `x` (event int)",
    ],
)
def test_what_is_not_code_goes_with_the_rows(text: bytes) -> None:
    assert not is_code(text)
    assert making(statement(text), "shop") is None


def test_the_dumps_own_schema_before_a_name_is_taken_off() -> None:
    found = making(statement(TRIGGER % (b"`shop`.`a`", b"shop . `t`")), "shop")
    assert found is not None
    assert found.text == TRIGGER % (b"`a`", b"`t`")


@pytest.mark.parametrize(
    "text",
    [
        TRIGGER % (b"`live`.`a`", b"`t`"),
        TRIGGER % (b"`a`", b"`live`.`t`"),
        b"CREATE PROCEDURE live.p() SELECT 1",
        b"DROP VIEW IF EXISTS `live`.`v`",
        b"CREATE VIEW/**/live.v AS SELECT 1",  # not a form that a dump program writes
        b"CREATE /*x*/ EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    ],
)
def test_code_of_another_schema_or_in_a_strange_form_is_refused(text: bytes) -> None:
    assert is_code(text)
    with pytest.raises(Refused):
        making(statement(text), "shop")


@pytest.mark.parametrize("status", ["ENABLE", "DISABLE", "DISABLE ON SLAVE", "DISABLE ON REPLICA"])
def test_an_events_status_is_changed_and_told_and_nothing_else_is(status: str) -> None:
    changed, had = with_status(EVENT.format(status), "DISABLE")
    assert had == status
    assert changed == EVENT.format("DISABLE")


def test_an_event_without_a_status_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="no ON COMPLETION"):
        with_status("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1", "DISABLE")


def test_a_qualifier_is_replaced_where_it_is_one() -> None:
    text = "CREATE VIEW `v` AS select `s`.`t`.`s` AS `s`,'`s`.' AS `x`,`o`.`s`.`y` from `s`.`t` `s`"
    assert requalified(text, "s", "shop") == text.replace("`s`.`t`", "`shop`.`t`")


def test_every_quoted_name_is_mentioned() -> None:
    assert mentions("select `a``b`.`c` from `d` where 'e`f`' = 1") == {"a`b", "c", "d"}


def test_a_setting_that_could_call_something_is_none() -> None:
    assert sets_only(b"/*!50003 SET sql_mode = 'A,B(' */")
    assert sets_only(b"SET @saved_cs_client     = @@character_set_client")
    assert not sets_only(b"SET @a = (SELECT purge())")
    assert not sets_only(b"SET @a = live.purge()")
    assert not sets_only(b"SELECT 1")


def test_the_default_that_code_was_made_under_is_read() -> None:
    text = b"/*!50003 ALTER DATABASE `shop` CHARACTER SET latin1 COLLATE latin1_swedish_ci */"
    assert charset_of(text, "shop") == "CHARACTER SET latin1 COLLATE latin1_swedish_ci"
    assert charset_of(text, "other") is None
    assert is_code(text)
