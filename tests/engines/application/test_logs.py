"""Errors in logs: found with their traces, from the end, and never "none" when the answer is not known."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engines.application.log_times import read_time
from engines.application.logs import LogScan, check, recent, scan
from engines.checks import Panel, Verdict
from engines.targets import LARAVEL, Application

NOW = datetime(2026, 11, 22, 20, 14, 11, tzinfo=UTC)
SINCE = NOW - timedelta(minutes=10)
ERRORS = [r"\.(ERROR|CRITICAL|ALERT|EMERGENCY):"]


def at(minutes: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time so many minutes before NOW."""
    return (NOW - timedelta(minutes=minutes)).strftime(form)


def write(path: Path, content: str | bytes, minutes: float = 0.0) -> Path:
    """A log last written so many minutes before NOW."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    written = (NOW - timedelta(minutes=minutes)).timestamp()
    os.utime(path, (written, written))
    return path


def search(*paths: Path, errors: Sequence[str] = ERRORS, ignore: Sequence[str] = (), **more: object) -> LogScan:
    return scan(paths, SINCE, NOW, errors, ignore, **more)  # type: ignore[arg-type]  # passed on as given


TRACE = """[stacktrace]
#0 /srv/shop/app/Pay.php(31): charge()
#1 [internal function] production.INFO: not an entry
#2 {main}
"} """


def test_an_error_is_found_with_its_stack_trace_and_place(tmp_path: Path) -> None:
    log = write(
        tmp_path / "laravel.log",
        f"[{at(30)}] production.ERROR: before the restore\n"
        f"[{at(9)}] production.INFO: up\n"
        f'[{at(8)}] production.ERROR: no such table: users {{"exception":"[object] (PDOException\n{TRACE}\n'
        f"[{at(0)}] production.INFO: fine\n",
    )
    found = search(log)
    assert (found.errors, found.entries, found.levels) == (1, 3, {"INFO": 2, "ERROR": 1})
    assert (found.lines_read, found.problems, found.files) == (9, (), (str(log),))
    [line] = found.found
    assert (line.file, line.line_number, line.level, line.at) == (str(log), 3, "ERROR", NOW - timedelta(minutes=8))
    assert log.read_bytes()[line.offset :].startswith(f"[{at(8)}]".encode())
    assert "#0 /srv/shop/app/Pay.php(31)" in line.text
    assert line.text.endswith('"} ')
    verdict = check(found)
    assert (verdict.verdict, verdict.panel) == (Verdict.FAIL, Panel.VALIDATION)
    assert "1 unexpected in 3 entries" in verdict.evidence
    assert f"newest: ERROR at 2026-11-22 20:06 UTC in {log}, PDOException" in verdict.evidence


def test_of_an_errors_own_words_nothing_gets_into_the_record(tmp_path: Path) -> None:
    for words in (
        "no such table: users (SQL: select * from users where email = 'a@b.test')",
        "no such table: users (Connection: sqlite, SQL: insert ('a@b.test'))",
        "no account for a@b.test",
        'Duplicate entry {"exception":"[object] (App\\\\Mail\\\\Twice(code: 23000): a@b.test exists',
    ):
        log = write(tmp_path / "laravel.log", f"[{at(3)}] production.ERROR: {words}\n", 3)
        evidence = check(search(log)).evidence
        assert f"newest: ERROR at 2026-11-22 20:11 UTC in {log}" in evidence
        assert "a@b.test" not in evidence
        assert "no " not in evidence
        assert evidence.endswith(", App\\Mail\\Twice") is ("Mail" in words)


def test_as_many_errors_as_are_accepted_are_no_failure(tmp_path: Path) -> None:
    log = write(tmp_path / "laravel.log", f"[{at(3)}] production.ERROR: a\n[{at(2)}] production.ERROR: b\n", 2)
    assert check(search(log), 1).verdict is Verdict.FAIL
    accepted = check(search(log), 2)
    assert accepted.verdict is Verdict.OK
    assert "2 unexpected, 2 accepted in 2 entries" in accepted.evidence


def test_what_is_denied_is_an_error_beside_those_that_are_errors_anyway(tmp_path: Path) -> None:
    lines = f"[{at(4)}] production.ERROR: a\n[{at(3)}] production.INFO: refund twice\n[{at(2)}] production.INFO: b\n"
    log = write(tmp_path / "laravel.log", lines, 2)
    application = Application(tmp_path, logs=(log,))
    assert recent(application, NOW).errors == 1
    assert recent(application, NOW, None, ("refund twice",)).errors == 2
    named = Application(tmp_path, logs=(log,), log_errors=("b$",))
    assert recent(named, NOW, None, ("refund twice",)).errors == 2


def test_only_what_came_after_a_moment_inside_the_window_counts_where_one_is_given(tmp_path: Path) -> None:
    log = write(tmp_path / "laravel.log", f"[{at(8)}] production.ERROR: before\n[{at(2)}] production.ERROR: after\n", 2)
    application = Application(tmp_path, logs=(log,))
    assert recent(application, NOW).errors == 2
    assert recent(application, NOW, NOW - timedelta(minutes=5)).errors == 1
    assert recent(application, NOW, NOW - timedelta(minutes=50)).errors == 2


def test_a_quiet_log_is_fine_and_says_what_was_looked_at(tmp_path: Path) -> None:
    verdict = check(search(write(tmp_path / "laravel.log", f"[{at(3)}] local.INFO: a\n", 3)))
    assert verdict.verdict is Verdict.OK
    assert verdict.evidence == ("no unexpected error in 1 entries from 2026-11-22 20:04 UTC to 2026-11-22 20:14 UTC")


def test_an_empty_log_and_one_that_was_not_written_in_that_time_are_fine(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.log", "")
    old = write(tmp_path / "old.log", f"[{at(99)}] production.ERROR: long ago\n", 99)
    assert check(search(empty, old)).verdict is Verdict.OK


def test_an_expected_error_is_counted_apart_but_only_its_first_line_can_excuse_it(tmp_path: Path) -> None:
    log = write(
        tmp_path / "laravel.log",
        f"[{at(3)}] production.ERROR: Redis timed out\n"
        f"[{at(2)}] production.ERROR: money lost\n#0 /srv/vendor/Redis.php\n",
        2,
    )
    found = search(log, ignore=["Redis"])
    assert (found.errors, found.ignored) == (1, 1)
    assert "money lost" in found.found[0].text


def test_without_expressions_the_level_decides(tmp_path: Path) -> None:
    text = "".join(f"[{at(1)}] production.{level}: x\n" for level in ("DEBUG", "WARNING", "ERROR", "EMERGENCY"))
    assert search(write(tmp_path / "laravel.log", text, 1), errors=()).errors == 2


def test_the_newest_errors_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    text = "".join(f"[{at(9 - n / 200)}] production.ERROR: number {n}\n" for n in range(1000))
    found = search(write(tmp_path / "laravel.log", text, 4), limit=3)
    assert found.errors == 1000
    assert [line.text.split()[-1] for line in found.found] == ["999", "998", "997"]


def test_five_gigabytes_are_not_read_for_their_last_minutes(tmp_path: Path) -> None:
    log = tmp_path / "laravel.log"
    with log.open("wb") as file:
        file.seek(5_000_000_000)
        file.write(b"\n")
        for n in range(40_000, 0, -1):
            file.write(f"[{at(n / 60)}] production.INFO: {'x' * 40} {n}\n".encode())
        file.write(f"[{at(0)}] production.ERROR: boom\n".encode())
    write_time = NOW.timestamp()
    os.utime(log, (write_time, write_time))
    begun = time.monotonic()
    found = search(log)
    assert (found.errors, found.entries, found.problems) == (1, 601, ())
    assert found.found[0].line_number is None
    assert found.bytes_read < 3_000_000
    assert time.monotonic() - begun < 5


def test_a_log_that_writes_more_than_can_be_searched_is_a_problem(tmp_path: Path) -> None:
    text = "".join(f"[{at(9 - n / 1000)}] production.INFO: number {n}\n" for n in range(5000))
    found = search(write(tmp_path / "laravel.log", text, 4), most=20_000)
    assert found.bytes_read == 20_000
    [problem] = found.problems
    assert "only the last 20.0 kB" in problem
    assert check(found).verdict is Verdict.UNKNOWN


def test_a_trace_longer_than_a_block_belongs_to_its_error(tmp_path: Path) -> None:
    trace = "#1 /srv/shop/vendor/framework/Something.php(12)\n" * 50_000
    log = write(
        tmp_path / "laravel.log",
        f"[{at(60)}] a.INFO: old\n[{at(5)}] a.ERROR: deep\n{trace}[{at(0)}] a.INFO: later\n",
    )
    found = search(log)
    assert (found.errors, found.entries, found.lines_read) == (1, 2, 50_003)
    assert len(found.found[0].text) < 70_000


def test_an_old_line_quoted_in_a_trace_does_not_hide_what_stands_before_it(tmp_path: Path) -> None:
    trace = "#1 /srv/shop/vendor/framework/Something.php(12)\n" * 15_000
    log = write(
        tmp_path / "laravel.log",
        f"[{at(8)}] a.ERROR: first\n{trace * 3}[{at(999)}] a.ERROR: an old line\n{trace}[{at(0)}] a.INFO: end\n",
    )
    assert [line.text.partition("\n")[0][-5:] for line in search(log).found] == ["first"]


def test_a_line_longer_than_a_block_hides_nothing_after_it(tmp_path: Path) -> None:
    log = write(
        tmp_path / "laravel.log",
        f"[{at(60)}] a.INFO: {'y' * 3_000_000}\n[{at(5)}] a.ERROR: {'z' * 3_000_000}\n[{at(0)}] a.ERROR: end\n",
    )
    assert search(log).errors == 2


def test_binary_junk_and_terminal_sequences_survive_as_text(tmp_path: Path) -> None:
    log = write(
        tmp_path / "laravel.log",
        b"\xff\xfe\x00junk\n" * 3
        + f"[{at(20)}] a.INFO: old\n[{at(1)}] a.ERROR: \x1b[2Jgone".encode()
        + b"\xc3\x28\x00\r\n",
        1,
    )
    found = search(log)
    assert found.errors == 1
    assert found.found[0].text.endswith("a.ERROR: \x1b[2Jgone\\xc3(\x00")
    assert "\x1b" not in check(found).evidence


def test_an_entry_after_a_hole_of_zeros_is_found(tmp_path: Path) -> None:
    entry = f"[{at(1)}] a.ERROR: after the cut\n".encode()
    for hole in (10, 65_536, 200_001):
        assert search(write(tmp_path / "laravel.log", b"\0" * hole + entry, 1)).errors == 1, hole


def test_what_cannot_be_read_is_unknown_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder.log"
    folder.mkdir()
    pipe = tmp_path / "pipe.log"
    os.mkfifo(pipe)
    loop = tmp_path / "loop.log"
    loop.symlink_to(loop)
    for path, why in {
        tmp_path / "missing.log": "No such file",
        folder: "not a regular file",
        pipe: "not a regular file",
        loop: "symbolic links",
        tmp_path / "gone" / "x.log": "No such file",
    }.items():
        found = search(path)
        assert len(found.problems) == 1
        assert why in found.problems[0]
        assert str(path) in found.problems[0]
        assert check(found).verdict is Verdict.UNKNOWN


def test_no_log_configured_is_unknown() -> None:
    assert check(search()).verdict is Verdict.UNKNOWN


def test_an_error_found_beside_a_problem_is_a_failure_that_names_both(tmp_path: Path) -> None:
    log = write(tmp_path / "laravel.log", f"[{at(1)}] a.ERROR: boom\n", 1)
    verdict = check(search(log, tmp_path / "missing.log"))
    assert verdict.verdict is Verdict.FAIL
    assert "missing.log" in verdict.evidence


def test_errors_rotated_away_within_the_time_are_still_found(tmp_path: Path) -> None:
    log = write(tmp_path / "laravel.log", f"[{at(1)}] a.INFO: new file\n", 1)
    write(tmp_path / "laravel.log.1", f"[{at(5)}] a.ERROR: rotated away\n", 5)
    write(tmp_path / "laravel.log.2", f"[{at(50)}] a.ERROR: long ago\n", 50)
    write(tmp_path / "laravel.log.bak", f"[{at(5)}] a.ERROR: somebody's copy\n", 5)
    found = search(log)
    assert [line.file for line in found.found] == [str(tmp_path / "laravel.log.1")]


def test_a_compressed_log_of_that_time_is_a_problem(tmp_path: Path) -> None:
    log = write(tmp_path / "laravel.log", f"[{at(1)}] a.INFO: new file\n", 1)
    write(tmp_path / "laravel.log.1.gz", gzip.compress(b"x"), 5)
    found = search(log)
    assert "laravel.log.1.gz was written in that time" in found.problems[0]


def test_laravels_daily_files_stand_for_the_one_that_is_configured(tmp_path: Path) -> None:
    write(tmp_path / "laravel-2026-11-22.log", f"[{at(5)}] a.ERROR: today\n", 5)
    write(tmp_path / "laravel-2026-11-21.log", f"[{at(900)}] a.ERROR: yesterday\n", 900)
    found = search(tmp_path / "laravel.log")
    assert (found.errors, found.problems) == (1, ())


def test_times_are_those_of_the_applications_zone(tmp_path: Path) -> None:
    local = (NOW - timedelta(minutes=5)).astimezone(ZoneInfo("Europe/Lisbon")).strftime("%Y-%m-%d %H:%M:%S")
    tokyo = (NOW - timedelta(minutes=4)).astimezone(ZoneInfo("Asia/Tokyo")).isoformat()
    text = f"[{local}] a.ERROR: local\n[{tokyo}] a.ERROR: with its zone\n"
    assert search(write(tmp_path / "laravel.log", text, 4), zone="Europe/Lisbon").errors == 2


@pytest.mark.parametrize("hours", [-9, -1, 1, 9])
def test_a_wrong_zone_is_noticed_by_the_files_own_time(tmp_path: Path, hours: int) -> None:
    text = f"[{at(60 * hours + 2)}] a.ERROR: an hour that is not ours\n"
    found = search(write(tmp_path / "laravel.log", text, 2))
    assert found.errors == 0
    assert "log_zone" in found.problems[0]
    assert check(found).verdict is Verdict.UNKNOWN


def test_in_the_hour_that_comes_twice_an_error_is_not_lost(tmp_path: Path) -> None:
    # Berlin, 2026-10-25: 02:30 comes at 00:30 and at 01:30 UTC.
    now = datetime(2026, 10, 25, 1, 35, tzinfo=UTC)
    log = tmp_path / "laravel.log"
    log.write_text("[2026-10-25 02:30:00] a.ERROR: which one?\n")
    os.utime(log, (now.timestamp(), now.timestamp() - 300))
    found = scan([log], now - timedelta(minutes=10), now, ERRORS, zone="Europe/Berlin")
    assert (found.errors, found.problems) == (1, ())


def test_another_form_is_read_by_pattern_and_undated_entries_inherit_their_time(tmp_path: Path) -> None:
    log = write(
        tmp_path / "error.log",
        f"{at(30, '%Y/%m/%d %H:%M:%S')} [error] 12#12: old\n"
        "[crit] 1#1: old too\n"
        f"{at(5, '%Y/%m/%d %H:%M:%S')} [error] 12#12: upstream timed out\n"
        "[crit] 1#1: at the same time\n"
        f"{at(1, '%Y/%m/%d %H:%M:%S')} [notice] 1#1: reload\n",
        1,
    )
    found = search(
        log,
        errors=[r"\[(error|crit)\]"],
        pattern=r"(?:(?P<at>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) )?\[(?P<level>\w+)\] ",
    )
    assert (found.errors, found.levels) == (2, {"error": 1, "crit": 1, "notice": 1})
    assert found.found[0].at == found.found[1].at == NOW - timedelta(minutes=5)


def test_a_log_in_which_nothing_looks_like_an_entry_is_unknown(tmp_path: Path) -> None:
    found = search(write(tmp_path / "laravel.log", '{"level":"error","message":"json"}\n' * 5, 1))
    assert "log_pattern" in found.problems[0]
    assert check(found).verdict is Verdict.UNKNOWN


def test_lines_before_the_first_time_are_not_silently_passed_over(tmp_path: Path) -> None:
    found = search(write(tmp_path / "laravel.log", f"PHP Fatal error: x\n[{at(1)}] a.INFO: y\n", 1))
    assert "before its first time" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22 20:04:11", "2026-11-22T20:04:11+00:00"),
        ("2026-11-22T20:04:11.123456+00:00", "2026-11-22T20:04:11.123456+00:00"),
        ("2026-11-22 20:04:11,123", "2026-11-22T20:04:11.123000+00:00"),
        ("22/Nov/2026:21:04:11 +0100", "2026-11-22T20:04:11+00:00"),
        ("2026/11/22 20:04:11", "2026-11-22T20:04:11+00:00"),
        ("22-Nov-2026 20:04:11 UTC", "2026-11-22T20:04:11+00:00"),
        ("22-Nov-2026 21:04:11 Europe/Berlin", "2026-11-22T20:04:11+00:00"),
        ("Sun Nov 22 20:04:11.5 2026", "2026-11-22T20:04:11.500000+00:00"),
        ("Nov  2 20:04:11", "2026-11-02T20:04:11+00:00"),
        ("Dec 31 23:59:59", "2025-12-31T23:59:59+00:00"),
        ("1795377851", "2026-11-22T20:04:11+00:00"),
    ],
)
def test_the_usual_forms_of_time_are_read(text: str, moment: str) -> None:
    span = read_time(text, UTC, NOW)
    assert span is not None
    assert span.earliest == span.latest == datetime.fromisoformat(moment)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45 99:99:99", "0001-01-01 00:00:00+23:59", "1" * 400])
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_time(text, UTC, NOW) is None


def test_a_configured_application_is_searched_over_its_window(tmp_path: Path) -> None:
    log = write(tmp_path / "laravel.log", f"[{at(14)}] a.ERROR: x\n", 14)
    laravel = LARAVEL["log_errors"]
    assert isinstance(laravel, list)
    application = Application(tmp_path, logs=(log,), log_errors=tuple(laravel), log_window=timedelta(minutes=15))
    assert recent(application, NOW).errors == 1
    assert recent(application, NOW + timedelta(minutes=5)).errors == 0
