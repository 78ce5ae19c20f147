"""Every tampering with a finished session that can be listed is found, and the first thing named is right.

What can't be found without a signature is here too: a whole, consistent rewrite.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.session.events import NoteAdded, PlanMade, SessionEnded, StepEnded, decode, encode
from engines.session.journal import FIRST_PREV, line_digest, parse
from engines.session.record import plan_as_written, render
from engines.session.report import report
from engines.session.runner import Runner
from engines.session.state import fold
from engines.session.verify import Finding, verify
from tests.engines.session.examples import ANA, begun, content, lines, runner_started
from tests.engines.session.toy import Toy
from tests.engines.session.toy_session import ROOT, gone, no_runner_left, sees, toy_session, work_through


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a session that was signed off, made by a real runner."""

    async def live() -> None:
        console = await session.console()
        await work_through(console)
        await sees(console, lambda _: not console.alive)
        await console.close()

    session = toy_session(tmp_path_factory.mktemp("finished"))
    with pytest.MonkeyPatch.context() as patched, no_runner_left(session):
        patched.setenv("PYTHONPATH", str(ROOT))
        runner = session.begin()
        asyncio.run(live())
        gone(runner.pid)
    return session.folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))


@pytest.fixture
def journal(copy: Path) -> list[bytes]:
    return (copy / "journal.jsonl").read_bytes().splitlines()


def found(copy: Path) -> Finding:
    return verify(copy / "session.toml")


def write(copy: Path, journal: list[bytes]) -> None:
    (copy / "journal.jsonl").write_bytes(content(journal))


def named_line(finding: Finding) -> int:
    named = re.match(r"Journal line (\d+)", finding.wrong)
    assert named, finding
    return int(named[1])


def other(value: object) -> object:
    """A value of the same type that is not the same."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value[:-1] + ("0" if not value.endswith("0") else "1") if value else "x"
        case list():
            return [*value, "x"]
        case dict():
            return {**value, "x": "x"}
        case _:
            return "x"


def mutations(value: object) -> Iterator[object]:
    """`value` with one thing in it changed, removed or added, for each thing in it."""
    yield other(value)
    if isinstance(value, dict):
        for key, item in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            yield from ({**value, key: changed} for changed in mutations(item))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield value[:number] + value[number + 1 :]
            yield from ([*value[:number], changed, *value[number + 1 :]] for changed in mutations(item))


def test_an_untouched_session_is_consistent(copy: Path) -> None:
    finding = found(copy)
    assert finding.verdict == "CONSISTENT"
    assert not finding.wrong
    assert not finding.unchecked
    assert len(finding.holds) == 5
    assert verify(copy) == finding


def test_every_changed_field_of_every_line_is_found(copy: Path, journal: list[bytes]) -> None:
    tried: Counter[str] = Counter()
    for number, line in enumerate(journal, 1):
        for changed in mutations(json.loads(line)):
            forged = json.dumps(changed, separators=(",", ":"), ensure_ascii=False).encode()
            assert forged != line
            write(copy, [*journal[: number - 1], forged, *journal[number:]])
            finding = found(copy)
            # A line that still reads shows in the next one, and the sentence says that one of the two was changed.
            assert named_line(finding) in (number, number + 1), (number, changed)
            if named_line(finding) == number + 1:
                assert "one of the two was changed" in finding.wrong
            tried[str(json.loads(line)["kind"])] += 1
    os.write(2, f"\n{sum(tried.values())} changed fields in {len(journal)} lines, each found: {dict(tried)}\n".encode())
    assert sum(tried.values()) > 800


def test_every_byte_of_a_line_matters(copy: Path, journal: list[bytes]) -> None:
    last = journal[-1]
    for place in range(len(last)):
        write(copy, [*journal[:-1], last[:place] + bytes([last[place] ^ 1]) + last[place + 1 :]])
        assert named_line(found(copy)) >= len(journal), place


def test_lines_removed_repeated_swapped_or_added_are_found(copy: Path, journal: list[bytes]) -> None:
    tried: Counter[str] = Counter()
    extra = json.loads(journal[-1])
    for number in range(1, len(journal) + 1):
        at = number - 1
        forged = json.dumps({**extra, "seq": number, "prev": _prev(journal, at)}, separators=(",", ":")).encode()
        ways = {
            "removed": (journal[:at] + journal[number:], {number}),
            "repeated": (journal[:number] + journal[at:], {number + 1}),
            "added": ([*journal[:at], forged, *journal[at:]], {number, number + 1}),
            "all before removed": (journal[at:], {1}),
        }
        if number < len(journal):
            ways["swapped"] = ([*journal[:at], journal[number], journal[at], *journal[number + 1 :]], {number})
            ways["blank line"] = ([*journal[:number], b"", *journal[number:]], {number + 1})
        for way, (tampered, named) in ways.items():
            if tampered != journal:
                write(copy, tampered)
                assert named_line(found(copy)) in named, (way, number)
                tried[way] += 1
    os.write(2, f"\n{sum(tried.values())} moved lines, each found: {dict(tried)}\n".encode())


def _prev(journal: list[bytes], at: int) -> str:
    return line_digest(journal[at - 1]) if at else FIRST_PREV


def test_a_tail_cut_at_every_line_and_at_every_byte_of_the_last_is_found(copy: Path, journal: list[bytes]) -> None:
    for kept in range(len(journal)):
        write(copy, journal[:kept])
        assert named_line(found(copy)) == kept + 1
    whole = content(journal)
    for cut in range(1, len(journal[-1]) + 1):
        (copy / "journal.jsonl").write_bytes(whole[:-cut])
        assert named_line(found(copy)) == len(journal)


def test_something_behind_the_end_is_found(copy: Path, journal: list[bytes]) -> None:
    for tail in (b"x", b"{", journal[-1], b"\0" * 10):
        (copy / "journal.jsonl").write_bytes(content(journal) + tail)
        finding = found(copy)
        assert named_line(finding) == len(journal) + 1
        assert "behind the end" in finding.wrong


def test_every_changed_or_removed_line_of_the_record_is_found(copy: Path) -> None:
    record = (copy / "session.toml").read_bytes().splitlines(keepends=True)
    tried: Counter[str] = Counter()
    for number, line in enumerate(record):
        ways = {
            "removed": record[:number] + record[number + 1 :],
            "repeated": [*record[:number], line, *record[number:]],
            "last byte changed": [*record[:number], line[:-2] + b"7\n", *record[number + 1 :]],
            "word added": [*record[:number], line[:-1] + b" # x\n", *record[number + 1 :]],
            "cut": record[:number],
        }
        for way, tampered in ways.items():
            if b"".join(tampered) != b"".join(record):
                (copy / "session.toml").write_bytes(b"".join(tampered))
                finding = found(copy)
                assert finding.verdict == "DOES NOT HOLD", (way, number)
                assert "session.toml" in finding.wrong or "one of the two" in finding.wrong, (way, line, finding)
                tried[way] += 1
    os.write(2, f"\n{sum(tried.values())} changes of session.toml, each found: {dict(tried)}\n".encode())


@pytest.mark.parametrize(
    "head",
    [
        'chain_head = "x"',
        "chain_head = []",
        "[chain_head]\nentries = -100",
        "[chain_head]\nentries = 0",
        "[chain_head]\nentries = inf",
        "[chain_head]\nentries = true",
        "[chain_head]\nentries = 1.0",
        '[chain_head]\nentries = "22"',
        "chain_head = " + "[" * 100_000,
        "chain_head = " + "{a=" * 100_000,
    ],
)
def test_a_hostile_record_is_said_not_to_be_one(head: str, copy: Path) -> None:
    (copy / "session.toml").write_text(head + '\nsha256 = "0"\n')
    finding = found(copy)
    assert finding.wrong.startswith("session.toml:")
    assert len(finding.wrong) < 500


def test_a_record_that_is_no_text_at_all_is_said_not_to_be_one(copy: Path) -> None:
    for odd in (b"", b"\xff\xfe", bytes(range(256)), b"\0" * 1000):
        (copy / "session.toml").write_bytes(odd)
        assert found(copy).wrong.startswith("session.toml:")


def test_every_altered_cut_extended_emptied_or_missing_log_is_named(copy: Path) -> None:
    logs = sorted((copy / "logs").iterdir())
    assert len(logs) == 4
    for log in logs:
        whole = log.read_bytes()
        changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
        for tampered in (*changed, *(whole[:at] for at in range(len(whole)))):
            log.write_bytes(tampered)
            assert found(copy).wrong.startswith(f"logs/{log.name}: it is not what journal line")
        log.unlink()
        assert found(copy).wrong.startswith(f"logs/{log.name}: it is missing")
        log.mkdir()
        assert found(copy).wrong.startswith(f"logs/{log.name}: it is missing")
        log.rmdir()
        log.write_bytes(whole)
    assert found(copy).verdict == "CONSISTENT"


def test_what_a_worker_wrote_after_its_step_had_ended_is_unchecked_and_not_wrong(copy: Path) -> None:
    log = sorted((copy / "logs").iterdir())[1]
    with log.open("ab") as file:
        file.write(b"job 1\njob 2\n")
    finding = found(copy)
    assert not finding.wrong
    assert finding.verdict == "CONSISTENT, IN PART"
    assert finding.unchecked == (f"logs/{log.name}: 12 bytes were written after the step had ended",)


def test_a_changed_plan_is_found(copy: Path) -> None:
    plan = (copy / "plan.toml").read_bytes()
    changed = plan.replace(b"cp backup target", b"rm -rf target")
    assert changed != plan
    for tampered in (changed, plan + b"# x\n", plan[:-1], b"", b"\xff"):
        (copy / "plan.toml").write_bytes(tampered)
        assert found(copy).wrong == "plan.toml: it differs from what the journal says."
    (copy / "plan.toml").unlink()
    assert found(copy).verdict == "CONSISTENT, IN PART"
    assert "plan.toml is not here" in found(copy).unchecked[0]


def test_a_report_or_a_log_that_no_line_speaks_of_is_unchecked(copy: Path) -> None:
    (copy / "report.md").write_text("all went well")
    (copy / "logs" / "03-07-forged.log").write_text("forged")
    finding = found(copy)
    assert not finding.wrong
    assert finding.verdict == "CONSISTENT, IN PART"
    assert [said.partition(":")[0] for said in finding.unchecked] == ["logs/03-07-forged.log", "report.md"]


def test_a_plan_that_is_newer_than_the_record_is_no_tampering(copy: Path, journal: list[bytes]) -> None:
    """The runner writes the plan first, and may die before the record."""
    made = [number for number, line in enumerate(journal, 1) if isinstance(decode(line).event, PlanMade)]
    assert len(made) == 2
    write(copy, journal[: made[1]])
    (copy / "session.toml").write_bytes(render(parse(content(journal[: made[1] - 1]))))
    shutil.rmtree(copy / "logs")
    assert found(copy).wrong == ""


def test_logs_that_are_not_here_are_said_to_be_unchecked(copy: Path) -> None:
    shutil.rmtree(copy / "logs")
    finding = found(copy)
    assert finding.verdict == "CONSISTENT, IN PART"
    assert "4 step logs are not here" in finding.unchecked


def test_a_lone_record_says_what_it_could_not_check(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copy(copy / "session.toml", tmp_path / "alone")
    finding = verify(tmp_path / "alone" / "session.toml")
    assert finding.verdict == "CONSISTENT, IN PART"
    assert any("journal.jsonl is not beside it" in said for said in finding.unchecked)


def test_nothing_to_check_is_an_error_with_a_hint(tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(RestoreError, match="can't be read") as error:
            verify(nothing)
        assert "session.toml" in error.value.hint


@pytest.mark.parametrize("size", [-1, 10**15])
def test_a_forged_size_of_a_log_asks_for_no_memory(size: int, copy: Path, journal: list[bytes]) -> None:
    rewritten = rewrite(journal, lambda fields: _with_size(fields, size))
    write(copy, rewritten)
    (copy / "session.toml").write_bytes(render(parse(content(rewritten))))
    assert "it is not what journal line" in found(copy).wrong


def _with_size(fields: dict[str, object], size: int) -> None:
    log = fields.get("log")
    if isinstance(log, dict):
        log["size"] = size


def rewrite(journal: list[bytes], change: Callable[[dict[str, object]], None]) -> list[bytes]:
    """The journal with each line changed by `change` and the whole chain made anew, as a skilled forger would."""
    forged: list[bytes] = []
    for line in journal:
        fields = {**json.loads(line), "prev": _prev(forged, len(forged))}
        change(fields)
        forged.append(json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode())
    return forged


def test_a_whole_consistent_rewrite_is_not_found_and_so_is_never_called_authentic(
    copy: Path, journal: list[bytes]
) -> None:
    """What docs/record.md says: only a signature over the chain head shows this."""

    def forge(fields: dict[str, object]) -> None:
        if isinstance(fields.get("operator"), dict):
            fields["operator"] = {**json.loads(journal[0])["operator"], "name": "somebody else"}

    forged = rewrite(journal, forge)
    assert forged != journal
    write(copy, forged)
    (copy / "session.toml").write_bytes(render(parse(content(forged))))
    (copy / "report.md").write_text(report(fold(parse(content(forged)).entries)))
    finding = found(copy)
    assert finding.verdict == "CONSISTENT"
    assert "authentic" not in " ".join(finding.holds)
    assert b"consistent, not authentic" in (copy / "session.toml").read_bytes()


def test_a_plan_of_a_version_that_knew_fewer_fields_is_no_tampering(copy: Path, journal: list[bytes]) -> None:
    def older(fields: dict[str, object]) -> None:
        plan = fields.get("plan")
        if isinstance(plan, dict):
            for one in plan["steps"]:
                del one["halts"]

    lines = rewrite(journal, older)
    assert lines != journal
    write(copy, lines)
    (copy / "session.toml").write_bytes(render(parse(content(lines))))
    made = [line for line in lines if b'"PlanMade"' in line]
    assert b"halts" in (copy / "plan.toml").read_bytes()
    (copy / "plan.toml").write_bytes(plan_as_written(made[-1]))
    assert b"halts" not in (copy / "plan.toml").read_bytes()
    finding = found(copy)
    assert finding.verdict == "CONSISTENT", finding
    (copy / "plan.toml").write_bytes(plan_as_written(made[-1]).replace(b"Replace", b"Keep"))
    assert "plan.toml" in found(copy).wrong


def test_a_runner_that_died_before_the_record_of_the_end_is_no_tampering(copy: Path, journal: list[bytes]) -> None:
    (copy / "session.toml").write_bytes(render(parse(content(journal[:-1]))))
    finding = found(copy)
    assert finding.verdict == "CONSISTENT, IN PART"
    assert "1 journal lines are newer" in finding.unchecked[0]


def test_an_older_record_in_the_place_of_the_last_one_is_found(copy: Path, journal: list[bytes]) -> None:
    for entries in range(1, len(journal) - 1):
        (copy / "session.toml").write_bytes(render(parse(content(journal[:entries]))))
        assert named_line(found(copy)) == entries + 1


def test_a_session_under_way_is_consistent_in_part(tmp_path: Path) -> None:
    written = lines(begun(), runner_started(), NoteAdded(ANA, "newer than the record"))
    (tmp_path / "journal.jsonl").write_bytes(content(written) + b'{"seq":4')
    (tmp_path / "session.toml").write_bytes(render(parse(content(written[:2]))))
    finding = verify(tmp_path)
    assert finding.verdict == "CONSISTENT, IN PART"
    assert len(finding.unchecked) == 2


def test_a_journal_that_does_not_begin_a_session_is_named(tmp_path: Path) -> None:
    written = lines(runner_started())
    (tmp_path / "journal.jsonl").write_bytes(content(written))
    (tmp_path / "session.toml").write_bytes(render(parse(content(written))))
    assert verify(tmp_path).wrong == "Journal line 1: it does not begin a session."


def test_every_field_of_the_record_comes_from_the_journal(copy: Path, journal: list[bytes]) -> None:
    record = tomllib.loads((copy / "session.toml").read_text())
    assert record["chain_head"] == {"entries": len(journal), "sha256": line_digest(journal[-1])}
    assert record["session"]["state"] == "signed off"
    assert isinstance(decode(journal[-1]).event, SessionEnded)
    ended = [decode(line).event for line in journal]
    steps = {event.step for event in ended if isinstance(event, StepEnded)}
    assert {step["id"] for step in record["step"]} == steps
    assert all(encode(decode(line)) == line for line in journal)


def test_resuming_an_ended_session_mends_a_record_that_is_behind_but_leaves_a_changed_one(
    copy: Path, journal: list[bytes]
) -> None:
    record = (copy / "session.toml").read_bytes()
    (copy / "session.toml").write_bytes(render(parse(content(journal[:-1]))))
    Runner(copy, Toy()).finish()
    assert (copy / "session.toml").read_bytes() == record, "it was one line behind"

    changed = record.replace(b"signed off", b"signed 0ff", 1)
    assert changed != record
    (copy / "session.toml").write_bytes(changed)
    Runner(copy, Toy()).finish()
    assert (copy / "session.toml").read_bytes() == changed, "what was changed stays, for verify to name"
    assert found(copy).wrong
