"""The record: valid TOML whatever people and steps said, the same each time, and described in docs/record.md."""

from __future__ import annotations

import re
import tarfile
import tomllib
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from engines.errors import Refused, RestoreError
from engines.people import Role
from engines.session import archive
from engines.session import events as e
from engines.session.journal import Journal, Writer, parse, read
from engines.session.plan import GateKind, PlanKind
from engines.session.record import plan_text, record, render
from engines.session.state import fold
from engines.session.verify import verify
from tests.engines.session.examples import (
    ACCEPT,
    ANA,
    CONFIRM,
    NOON,
    SIGN_OFF,
    begun,
    check_done,
    content,
    lines,
    plan_made,
    runner_started,
    session_folder,
    state_of,
    step,
)
from tests.engines.session.toy_session import ROOT

DOCS = (ROOT / "docs" / "record.md").read_text()
ODD = (
    "", " ", "\x00", "\x1b]0;title\x07", "\r\n", "\u2028", "\u202e", "\ufeff", "\x7f", "\x85", '"""', "'''", "\\",
    "\\u0000", "[bold]", "caf\udce9", "\ud800", "a = 1\n[[step]]\nid = 'forged'", "\N{GRINNING FACE}", "x" * 5_000,
    "=#", "\t",
)  # fmt: skip


def whole_session(text: str) -> tuple[e.Event, ...]:
    """A session in which everybody and everything says `text`."""
    somebody = e.Actor(text, text, console=text, connection=text)
    facts: dict[str, object] = {
        text or "empty": text,
        "list": [text, None],
        "table": {text: None, "in": {text: [text]}},
    }
    plan = plan_made(
        PlanKind.RESTORE,
        step("3.1", title=text, shows=(text, text), undo=text, gates=(ACCEPT, CONFIRM), params=facts),
        step("5.1", gates=(SIGN_OFF,)),
        approval=True,
        nonce=text,
    )
    return (
        begun(operator=somebody, target={"name": text}, incident=facts, host=text, tool=text),
        runner_started(),
        e.KeyboardTaken(somebody, text),
        plan,
        check_done(text),
        e.CheckOverridden(text, text, somebody, text),
        e.Approved(digest=plan.digest, actor=somebody, until=text, break_glass=text),
        e.Rejected(text, somebody, text, text),
        e.GateGiven("3.1", GateKind.ACCEPT, Role.COMMANDER, somebody, text),
        e.StepStarted("3.1", 1),
        e.ChildStarted("3.1", 1, 1, text),
        e.ChildEnded("3.1", 1, None, 0.0),
        e.FactFound("3.1", facts),
        e.StepEnded(
            step="3.1", result=e.Result.DONE, message=text, hint=text, facts=facts, log=e.StepLog(text, 0, text)
        ),
        e.GridMade(text, (e.GridRow(text, None, text, None, None, text, text),)),
        e.NoteAdded(somebody, text),
        e.UndoAsked(somebody, text),
        e.SessionEnded(e.Ending.ABANDONED, text, (text,)),
    )


def written(folder: Path, events: tuple[e.Event, ...]) -> Journal:
    writer = Writer(folder / "journal.jsonl")
    for event in events:
        writer.append(event, "ana")
    writer.close()
    return Journal(tuple(writer.entries), tuple(writer.lines))


@pytest.mark.parametrize("text", ODD, ids=lambda text: repr(text)[:20])
def test_whatever_is_said_the_record_is_toml_and_verifies(text: str, tmp_path: Path) -> None:
    in_memory = written(tmp_path, whole_session(text))
    record = render(in_memory)
    assert render(read(tmp_path / "journal.jsonl")) == record
    tables = tomllib.loads(record.decode())
    assert tables["session"]["state"] == "abandoned"
    assert [known["id"] for known in tables["step"]] == ["3.1", "5.1"]
    assert tables["note"][0].get("text", "") == text.encode(errors="backslashreplace").decode()
    tomllib.loads(plan_text(fold(in_memory.entries)).decode())
    (tmp_path / "session.toml").write_bytes(record)
    found = verify(tmp_path)
    assert "session.toml: the same as made again from the journal" in found.holds


@given(some.text(some.characters(), max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back_from_the_record_as_it_was(text: str) -> None:
    record = render(parse(content(lines(*whole_session(text)))))
    note = tomllib.loads(record.decode())["note"][0]
    assert note.get("text", "") == text.encode(errors="backslashreplace").decode()


def test_absent_facts_are_absent_keys() -> None:
    incident = {"incident": {"id": "INC-1", "ticket": ""}, "table": [{"name": "users", "source": ""}]}
    record = render(parse(content(lines(begun(incident=incident), runner_started()))))
    tables = tomllib.loads(record.decode())
    assert tables["incident"] == {"incident": {"id": "INC-1"}, "table": [{"name": "users"}]}
    assert b'""' not in record
    assert "ended" not in tables["session"]
    assert "plan" not in tables
    assert "step" not in tables


def test_a_journal_that_begins_nothing_has_a_record_all_the_same() -> None:
    assert tomllib.loads(render(parse(b"")).decode())["chain_head"]["entries"] == 0


def test_break_glass_and_deviations_are_at_the_top(tmp_path: Path) -> None:
    approved = e.Approved(digest="0", actor=ANA, until="2026-11-22T13:00:00.000Z", break_glass="nobody answers")
    tables = tomllib.loads(render(parse(content(lines(begun(), approved)))).decode())
    assert tables["break_glass"] == "nobody answers"
    assert next(iter(tables)) == "format"
    assert list(tables)[1] == "break_glass"
    assert tables["deviation"][0]["what"] == "break-glass: approved by the operator alone"


def test_a_broken_glass_stays_at_the_top_whatever_is_approved_later() -> None:
    alone = e.Approved(digest="0", actor=ANA, until="2026-11-22T13:00:00.000Z", break_glass="nobody answers")
    later = e.Approved(digest="1", actor=ANA, until="2026-11-22T13:00:00.000Z")
    override = e.CheckOverridden("space", "FAIL", ANA, "the disk grows", "the disk grows")
    accepted = e.GateGiven("3.1", GateKind.ACCEPT, Role.COMMANDER, ANA, "no snapshot", "still nobody")
    told = record(state_of(begun(), alone, check_done("space"), override, accepted, later))
    assert told["break_glass"] == "nobody answers; the disk grows; still nobody"
    deviations = told["deviation"]
    assert isinstance(deviations, list)
    assert [deviation["what"] for deviation in deviations] == [
        "break-glass: approved by the operator alone",
        "check overridden: space was FAIL (backup b), break-glass: by the operator alone",
        "break-glass: 3.1, a risk accepted by the operator alone",
    ]


def test_the_operators_own_first_console_is_no_handover() -> None:
    login = e.Actor("ana", "root")
    first, bob = replace(login, console="c1"), e.Actor("bob", "root", console="c2")
    taken = e.KeyboardTaken(first, "the first console")
    later = (e.KeyboardTaken(bob, "relief"), e.KeyboardTaken(first, "back"))
    told = record(state_of(begun(operator=login), taken, *later))
    handovers = told["handover"]
    assert isinstance(handovers, list)
    assert [(one["to"], one["reason"]) for one in handovers] == [("bob", "relief"), ("ana", "back")]
    other = record(state_of(begun(operator=login), e.KeyboardTaken(bob, "the first console")))
    assert isinstance(other["handover"], list)
    assert [one["to"] for one in other["handover"]] == ["bob"]


def test_abandoning_is_a_deviation_with_its_reason() -> None:
    told = record(state_of(begun(), e.SessionEnded(e.Ending.ABANDONED, "the wrong night")))
    assert told["deviation"] == [
        {"at": NOON + timedelta(seconds=2), "what": "abandoned", "by": "ana", "reason": "the wrong night"}
        | {"evidence": None}
    ]


def down_and_up(*events: e.Event) -> object:
    """The downtime of a session with these events; one comes each second, from the fourth on."""
    plan = plan_made(
        PlanKind.RESTORE,
        step("3.2", action="stop-maintenance"),
        step("4.7", action="start-maintenance"),
        step("6.2", action="stop-maintenance"),
        step("7.7", action="start-maintenance"),
    )
    measures = record(state_of(begun(), runner_started(), plan, *events))["measures"]
    assert isinstance(measures, dict)
    return measures["downtime_seconds"]


def test_downtime_is_counted_from_the_first_try_and_over_every_stop() -> None:
    def tried(step_id: str, result: e.Result = e.Result.DONE, attempt: int = 1) -> tuple[e.Event, ...]:
        return e.StepStarted(step_id, attempt), e.StepEnded(step=step_id, result=result)

    failed = (*tried("3.2", e.Result.FAILED), e.StepRetried("3.2", ANA))
    assert down_and_up(*tried("3.2"), *tried("4.7")) == 3.0
    assert down_and_up(*failed, *tried("3.2", attempt=2), *tried("4.7")) == 6.0, "down since the first try"
    assert down_and_up(*tried("3.2"), *tried("4.7"), *tried("6.2"), *tried("7.7")) == 6.0, "down twice"
    assert down_and_up(*tried("3.2")) is None, "still down"
    assert down_and_up(*tried("3.2"), *tried("4.7"), *tried("6.2")) is None, "down again"
    assert down_and_up(*tried("4.7")) is None, "never down"


# -- docs/record.md ----------------------------------------------------------------------------------------


def documented_kinds() -> dict[str, set[str]]:
    """Kind and fields of each line of the table of events in docs/record.md."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", DOCS, re.MULTILINE)
    return {kind: set(re.findall(r"`(\w+)`", told)) for kind, told in rows if kind in e.KINDS or kind[0].isupper()}


def test_the_docs_name_every_kind_of_event_with_every_field() -> None:
    assert documented_kinds() == {kind: {field.name for field in fields(cls)} for kind, cls in e.KINDS.items()}


def test_the_docs_name_every_table_and_key_of_the_record(tmp_path: Path) -> None:
    events = (*whole_session("x")[:-1], e.SessionEnded(e.Ending.ABANDONED, "x", ("x",)))
    signed = e.GateGiven("5.1", GateKind.SIGN_OFF, Role.OWNER, ANA, "right")
    skipped = e.StepSkipped("5.1", ANA, "no time")
    tables = tomllib.loads(render(parse(content(lines(*events[:-2], signed, skipped, *events[-2:])))).decode())
    loose = {"incident", "facts", "identity", "versions"}  # as found, or as configured
    for table, value in tables.items():
        assert f"`{table}`" in DOCS, table
        entries = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        for entry in entries:
            if table not in loose:
                assert [key for key in entry if f"`{key}`" not in DOCS] == [], table


def test_the_docs_say_what_is_not_proven() -> None:
    assert "consistent" in DOCS
    assert "never authentic" in DOCS
    assert "rewrite" in DOCS


# -- the archive -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = session_folder(tmp_path, begun())
    (made / "session.toml").write_text("format = 1\n")
    (made / "plan.toml").write_text("")
    (made / "runner.log").write_text("secret")
    (made / "reserve").write_bytes(b"")
    (made / "private" / ".env").write_text("APP_KEY=secret")
    (made / "logs" / "02-01-look.log").write_text("a log")
    (made / "logs" / "private.log").symlink_to(made / "private" / ".env")
    (made / "report.md").symlink_to(made / "private" / ".env")
    return made


@pytest.mark.parametrize("logs", [False, True])
def test_an_archive_never_holds_the_private_folder_nor_a_way_to_it(logs: bool, folder: Path, tmp_path: Path) -> None:
    names = archive.export(folder, tmp_path / "a.tar.gz", logs=logs)
    assert names == ("session.toml", "plan.toml", "journal.jsonl", *(["logs/02-01-look.log"] if logs else []))
    with tarfile.open(tmp_path / "a.tar.gz") as kept:
        assert {member.name for member in kept.getmembers()} == {f"{folder.name}/{name}" for name in names}
        assert all(member.isfile() for member in kept.getmembers())
        for member in kept.getmembers():
            opened = kept.extractfile(member)
            assert opened is not None
            assert b"secret" not in opened.read()
    assert (tmp_path / "a.tar.gz").stat().st_mode & 0o777 == 0o600


def test_an_archive_replaces_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_text("keep me")
    with pytest.raises(Refused, match="Nothing was written") as refused:
        archive.export(folder, tmp_path / "a.tar.gz", logs=False)
    assert "--to" in refused.value.hint
    assert (tmp_path / "a.tar.gz").read_text() == "keep me"


def test_half_an_archive_does_not_stay(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RestoreError, match="No space left on device"):
        archive.export(folder, tmp_path / "a.tar.gz", logs=False)
    assert not (tmp_path / "a.tar.gz").exists()


def test_an_archive_in_a_folder_that_there_is_not_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="can't be written"):
        archive.export(folder, tmp_path / "none" / "a.tar.gz", logs=False)
