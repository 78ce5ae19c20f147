"""How far to go beyond a dump: the question, what is typed, and what the explorer's keys do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engines.backups.catalogue import Backup
from engines.errors import UsageError
from engines.recipes import points
from engines.recipes.mysql.exploring import DANGEROUS, Fate, Row, Staged, did, immovable, staged
from engines.recipes.mysql.until import Kind, Until, just_before, stops_before, told, typed, until_of
from engines.session import commands as c
from engines.text import clock, to_the_second
from screens.modals.explorer import ExplorerModal, whole
from screens.modals.form import Field, Form
from screens.modals.question import Answer, Question
from screens.modals.reading import ReadingModal
from tui.blocked import blocked
from tui.pages import at_stake
from tui.view import Shelf, View

if TYPE_CHECKING:
    from tui.app import Console

_CUT = 200  # letters of a statement in a question
_UNTIL, _REASON = "until", "reason"
_AGAIN = "The same dump is prepared again, and the plan made anew: it needs a new approval."


@dataclass(frozen=True, slots=True)
class Offered:
    """One way to answer "up to when?"; `blocked` says why it can't be chosen."""

    key: str
    label: str
    until: Until | None
    blocked: str = ""


def offered(shelf: Shelf, backup: Backup, now: datetime, given: Until | None) -> list[Offered]:
    """What can be chosen without typing, the incident's own moments first."""
    found = list(_of_incident(shelf, given))
    found.append(Offered("d", "no further than the dump: nothing is replayed", Until()))
    found.append(Offered("e", "to the end of the logs: everything that they have", Until(Kind.END)))
    return [
        Offered(
            one.key, one.label, one.until, one.blocked or (unreachable(one.until, backup, now) if one.until else "")
        )
        for one in found
    ]


def _of_incident(shelf: Shelf, given: Until | None) -> Iterator[Offered]:
    if given is not None:
        yield Offered("u", f"as --until says, {told(given)}", given)
    incident = shelf.incident
    if incident is None:
        return
    if incident.about.started_at is not None:
        began = incident.about.started_at
        yield Offered("i", f"just before the incident began, {to_the_second(began)}", just_before(began))
    named = (
        ("r", "stop_before", incident.objective.stop_before),
        ("m", "restore_point", incident.objective.restore_point),
    )
    for key, name, written in named:
        if written is None or written == "latest":
            continue
        try:
            until = typed(written)
        except UsageError as error:
            yield Offered(key, f"as the incident report says ({name}): {written}", None, error.message)
        else:
            first = stops_before(until)
            yield Offered(key, f"before {to_the_second(first) if first else until.value}, the report's {name}", until)


def unreachable(until: Until, backup: Backup, now: datetime) -> str:
    """Why this moment can't be reached from this dump; empty where nothing is known against it."""
    first = stops_before(until)
    if first is None:
        return ""
    if first <= backup.taken_at:
        return f"the dump was taken later ({clock(backup.taken_at)}) and has all that was before; choose an older one"
    if first > now:
        return "that moment has not come yet; e goes to the end of the logs"
    return ""


def ask(console: Console, view: View, subject: str, backup: Backup, lines: Sequence[str]) -> None:
    """Ask up to when, then prepare: begin the session, or choose this restore point in the one there is.

    `subject` is what the shelf knows the backup by.
    """
    ways = offered(console.shelving.shelf, backup, view.now, console.opening.until)
    answers = [Answer(one.key, one.label, one.key, one.blocked) for one in ways]
    answers.append(Answer("t", "another moment: type a time, FILE:POSITION or a GTID", "t"))
    before = until_of(view.state) if view.state.begun is not None else Until()
    if before.replays:
        lines = [*lines, f"So far: {told(before)}."]

    def chosen(until: Until) -> c.Command | None:
        if view.state.begun is None:
            console.work(console.begin(subject, until))
            return None
        return c.Choose(points.to_table(backup, until))

    def answered(key: str) -> None:
        if key == "t":
            console.form(_another(backup, console.outside.now, chosen))
            return
        until = next(one.until for one in ways if one.key == key)
        command = chosen(until or Until())
        if command is not None:
            console.ask(command)

    console.question(Question("Up to when? The answer prepares it.", tuple(lines), tuple(answers)), answered)


def _another(backup: Backup, now: Callable[[], datetime], chosen: Callable[[Until], c.Command | None]) -> Form:
    def command(values: Mapping[str, str]) -> c.Command | None:
        until = typed(values[_UNTIL])
        reason = unreachable(until, backup, now())
        if reason:
            raise UsageError(f"Not to there: {reason}.", "Nothing was started.")
        return chosen(until)

    local = now().astimezone()
    mine = f", {local:%Y-%m-%dT%H:%M}:00{local.isoformat()[-6:]} by this machine's clock" if local.utcoffset() else ""
    return Form(
        "Just before what?",
        (
            f"A time with its zone: {now():%Y-%m-%dT%H:%M}:00Z for UTC{mine}.",
            "A transaction by its GTID or by FILE:POSITION, as in binlog.000123:4567. `dump` and `end` are known too.",
        ),
        (Field(_UNTIL, "Time, FILE:POSITION or GTID"),),
        "prepares it",
        command,
        live=lambda values: echo(values[_UNTIL], backup, now()),
    )


def echo(text: str, backup: Backup | None, now: datetime) -> str:
    """What is meant by what has been typed so far: a time in UTC and as on this machine's clock."""
    if not text.strip():
        return ""
    try:
        until = typed(text)
    except UsageError as error:
        return _zoneless(text) or error.hint
    first = stops_before(until)
    if first is None:
        kinds = {Kind.GTID: "before the transaction of the GTID", Kind.POSITION: "before the transaction at"}
        return f"= {kinds[until.kind]} {until.value}" if until.kind in kinds else f"= {told(until)}"
    against = unreachable(until, backup, now) if backup is not None else ""
    return f"= before {to_the_second(first)}" + (f": {against}" if against else "")


def _zoneless(text: str) -> str:
    """A time without a zone, in both of the ways that it could be meant."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return ""
    if moment.tzinfo is not None:
        return ""
    local = moment.astimezone()
    mine = f", or {local.isoformat()[-6:]} for {to_the_second(local)}" if local.utcoffset() else ""
    return f"Which zone? Add Z for {to_the_second(moment.replace(tzinfo=UTC))}{mine}."


# -- the explorer --------------------------------------------------------------------------------------------


def explore(console: Console, view: View) -> None:
    found = staged(view.state)
    begun = view.state.begun
    if found is None or begun is None:
        return
    target = f"{str(begun.environment).upper()}  {at_stake(begun.engine, begun.address)}"
    console.work(_explore(console, ExplorerModal(target), found, until_of(view.state)))


async def _explore(console: Console, modal: ExplorerModal, found: Staged, until: Until) -> None:
    await console.push_screen(modal, lambda _: console.show())
    await console.exploring.open(found, until)


def pressed(console: Console, key: str, place: str) -> None:
    """A key of the explorer."""
    exploring = console.exploring
    row = exploring.find(place)
    match key:
        case "back":
            if not exploring.back():
                console.close_explorer()
        case "more-1" | "more1":
            console.work(exploring.more(-1 if key == "more-1" else 1))
        case _ if exploring.busy:
            console.say("The logs are being read. Esc stops that.")
        case "search":
            console.form(_search(console))
        case "moment":
            console.form(_moment(console))
        case "whole" if row is not None:
            console.push_screen(ReadingModal(f"Transaction {row.place}", whole(row)))
        case "stop" if row is not None:
            _stop_before(console, row)
        case "leave-out" if row is not None:
            _leave_out(console, row)


def _search(console: Console) -> Form:
    def command(values: Mapping[str, str]) -> None:
        words = tuple(values["words"].replace(",", " ").split())
        console.work(console.exploring.search(words, values["table"].strip()))

    return Form(
        "Search the logs",
        ("DELETE, UPDATE and INSERT find rows, other words find data definition.",),
        (
            Field("words", "Words, any of them", " ".join(DANGEROUS)),
            Field("table", "Table, or schema.table (empty: any)", required=False),
        ),
        "searches",
        command,
    )


def _moment(console: Console) -> Form:
    def command(values: Mapping[str, str]) -> None:
        text = values[_UNTIL].strip()
        until = typed(text)
        if until.kind in (Kind.DUMP, Kind.END):
            raise UsageError(f"{until.kind} is no moment to look at.", "A time, FILE:POSITION or a GTID.")
        first = stops_before(until)
        heading = f"around {to_the_second(first)}" if first else f"around {until.value}"
        console.work(console.exploring.around(first or until.value, heading))

    return Form(
        "Look around which moment?",
        ("A time with its zone, FILE:POSITION or a GTID.",),
        (Field(_UNTIL, "Moment"),),
        "looks there",
        command,
        live=lambda values: echo(values[_UNTIL], None, console.view.now),
    )


def _card(row: Row) -> list[str]:
    """What an operator knows it by. It is drawn, and not kept."""
    lines = [f"{row.place}  {row.gtid}".strip(), f"committed {to_the_second(row.at)}"]
    if what := did(row):
        lines.append(what)
    if row.statements:
        statement = " ".join(row.statements[0].split())
        lines.append(statement if len(statement) <= _CUT else f"{statement[:_CUT]}…")
    return lines


def _stop_before(console: Console, row: Row) -> None:
    view = console.view
    before = until_of(view.state)
    until = Until(Kind.POSITION, row.place, tuple(name for name in before.exclude if _earlier(console, name, row)))
    reason = immovable(row) or blocked("choose", view, "")
    if not reason and until == before:
        reason = "It stops just before this one already."
    if reason:
        console.say(reason)
        return
    lines = [*_card(row), "", "Everything before it is replayed; this one and all that follow are not.", _AGAIN]
    if dropped := set(before.exclude) - set(until.exclude):
        lines.append(f"Not left out any more, since they come later: {', '.join(sorted(dropped))}.")
    question = Question("Stop just before this one?", tuple(lines), (Answer("enter", "stop just before it", "yes"),))
    reasoned = str(view.state.backup.get("reason", ""))
    console.question(question, lambda _: console.ask(c.Choose(points.going_to(view.state.backup, until, reasoned))))


def _earlier(console: Console, name: str, row: Row) -> bool:
    """Does the transaction of this name come before the row? One that nothing is known of is kept, and asked for."""
    known = next((one for one in console.exploring.seen.rows if name in (one.gtid, one.place)), None)
    place = known.place if known else name
    (file, _, position), (its, _, begin) = place.rpartition(":"), row.place.rpartition(":")
    if not position.isdigit() or not begin.isdigit() or "." not in file:
        return True
    return (file, int(position)) < (its, int(begin))


def _leave_out(console: Console, row: Row) -> None:
    view = console.view
    before = until_of(view.state)
    reason = immovable(row) or blocked("choose", view, "")
    if not reason and row.fate is Fate.AFTER:
        reason = "It comes after the stop, so it is not replayed anyway."
    if reason:
        console.say(reason)
        return
    if row.fate is Fate.LEFT_OUT:
        kept = tuple(name for name in before.exclude if name not in (row.gtid, row.place))
        again = Until(before.kind, before.value, kept)
        question = Question("Replay this one after all?", (*_card(row), "", _AGAIN), (Answer("y", "replay it", "yes"),))
        reasoned = str(view.state.backup.get("reason", ""))
        console.question(question, lambda _: console.ask(c.Choose(points.going_to(view.state.backup, again, reasoned))))
        return
    until = Until(before.kind, before.value, (*before.exclude, row.place))
    console.form(
        Form(
            "Leave this transaction out of the replay?",
            (
                *_card(row),
                "",
                "Later ones that touch the same rows may fail or do something else; Readiness says how many there are.",
                f"It is recorded as a deviation. {_AGAIN}",
            ),
            (Field(_REASON, "Why it is left out"),),
            "leaves it out",
            lambda values: c.Choose(points.going_to(view.state.backup, until, values[_REASON].strip())),
        )
    )


__all__ = ["Offered", "ask", "echo", "explore", "offered", "pressed", "unreachable"]
