"""The work is done: who signs off, what it took, what was done differently, and where the record is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual.app import ComposeResult
from textual.reactive import var
from textual.screen import Screen

from engines.session.authority import names_for
from engines.session.events import Filing
from engines.session.followups import FollowUp, follow_ups
from engines.session.moves import left_behind
from engines.session.notices import unsent
from engines.session.plan import GateKind
from engines.session.record import loss, objectives, record
from engines.session.state import SessionState, StepState
from engines.session.tickets import Ticket, not_filed, outcome
from engines.text import both_zones, duration, parse_stamp, span
from tui.keys import Pressed, bindings
from tui.pages import LIVE
from tui.theme import BOLD, DIM, PLAIN, WARY
from tui.view import Page, View
from tui.widgets.cells import Line, Piece, fit
from tui.widgets.frame import framed, show_frame
from tui.widgets.grid import tally
from tui.widgets.rows import Rows
from tui.widgets.told import Told

PAGE = Page.HANDOVER


class HandoverScreen(Screen[None]):
    BINDINGS = bindings(PAGE)
    DEFAULT_CSS = """
    HandoverScreen #told { height: 1fr; }
    HandoverScreen #follow-ups { height: auto; max-height: 40%; min-height: 2; }
    """

    view: var[View] = var(View(), init=False)
    composed = False  # from on_mount on there is something to draw on

    def compose(self) -> ComposeResult:
        follow_ups = Rows("Follow-ups", id="follow-ups", empty="none; t writes one down, and so does a note with todo:")
        yield from framed(PAGE, Told("Handover", id="told"), follow_ups)

    def on_mount(self) -> None:
        self.composed = True
        self.query_one(Told).focus()
        self.watch_view(self.view)

    def watch_view(self, view: View) -> None:
        if not self.composed:
            return
        self.query_one(Told).show(list(told(view)))
        found = follow_ups(view.state)
        loose = sum(not (one.owner and one.due) for one in found)
        self.query_one(Rows).show(
            [one.key for one in found],
            lambda index, width: follow_up_line(
                found[index],
                width,
                view.state.tickets.get(found[index].key),
                ended=view.state.ended is not None,
            ),
            note=f"{loose} without owner or date" if loose else "",
        )
        show_frame(self, PAGE, view, self.subject)

    def on_rows_moved(self) -> None:
        show_frame(self, PAGE, self.view, self.subject)

    @property
    def subject(self) -> str:
        """The selected follow-up, also while the text above has the arrows."""
        return self.query_one(Rows).selected

    def action_press(self, key: str) -> None:
        self.post_message(Pressed(key, self.subject))


_DUE, _OWNER = 11, 12  # cells of a date and of a name
_TICKET = 12  # cells of a ticket that somebody typed


def follow_up_line(one: FollowUp, width: int, tried: Ticket | None = None, *, ended: bool = False) -> Line:
    """The date, who does it, its ticket, and what."""
    mark, wary = _ticket(one, tried, ended=ended)
    shown = f"{mark} " if mark else ""
    return (
        (fit(one.due or "no date", _DUE), PLAIN if one.due else WARY),
        (fit(one.owner or "nobody yet", _OWNER), PLAIN if one.owner else WARY),
        (shown, WARY if wary else PLAIN),
        (fit(one.task, width - _DUE - _OWNER - len(shown)), PLAIN),
    )


def _ticket(one: FollowUp, tried: Ticket | None, *, ended: bool) -> tuple[str, bool]:
    """What is shown of its ticket, before the task that may be cut; and is it something to look at?"""
    if one.ticket:
        number = f"#{tried.number}" if tried is not None and one.ticket == tried.address else one.ticket
        return (number if len(number) <= _TICKET else f"…{number[-_TICKET:]}"), False
    if tried is None:
        return "", False
    if tried.result is None and not ended:
        return "filing …", False
    return ("NOT FILED" if tried.result is Filing.NOT_FILED else "FILED?"), True


def told(view: View) -> Iterator[Piece]:
    """The page, line by line."""
    state = view.state
    yield from _sign_offs(state)
    yield from _record(view)
    yield from _times(state)
    yield from _objectives(state)
    if LIVE in state.grids:
        what = "Validation before the undo" if state.puts_back else "Validation"
        yield f"{what}  {tally(state.grids[LIVE].rows)}", PLAIN
    if state.ended:
        yield from _listed("Left behind", state.ended.left_behind)
    else:
        yield from _listed("Changed, and not put back so far", left_behind(state))
    yield from _listed("Deviations", (f"{d.what}. {d.by}: {d.reason}" for d in state.deviations), "none")
    yield from _told_to(state)
    yield from _tickets(state)
    yield from _listed("Notes", (f"{n.at:%H:%M} {n.actor.name}: {n.text}" for n in state.notes), "none; n writes one")


def _sign_offs(state: SessionState) -> Iterator[Piece]:
    if state.ended is not None:
        reason = f": {state.ended.reason.rstrip('. ')}" if state.ended.reason else ""
        yield f"The session is over: {state.ended.how}{reason}.", BOLD
    wanted = [(known, gate) for known in state.current for gate in known.step.gates if gate.kind is GateKind.SIGN_OFF]
    yield "Sign-offs", BOLD
    if not wanted:
        yield "  none are due in the plan in force", DIM
    for known, gate in wanted:
        name = _signed(known, gate.role)
        if name:
            yield f"  ✔ {gate.role}: {name}", PLAIN
        else:
            who = ", ".join(names_for(state, gate.role))
            yield f"    {gate.role}: not yet{f' ({who})' if who else ''}", WARY
            yield f"      {gate.text}", DIM


def _signed(known: StepState, role: str) -> str:
    for gate in known.gates:
        if gate.gate is GateKind.SIGN_OFF and gate.role == role:
            return f"{gate.actor.name} ({gate.actor.how}), {both_zones(gate.at)}"
    return ""


def _record(view: View) -> Iterator[Piece]:
    yield "Record" if view.state.ended is None else "Record; report.md beside it has it in words", BOLD
    yield f"{view.folder / 'session.toml'}", PLAIN  # from the line's start: it is copied from the terminal


def _times(state: SessionState) -> Iterator[Piece]:
    yield "Times", BOLD
    if state.begun_at:
        ended = f", ended {both_zones(state.ended_at)}" if state.ended_at else ""
        yield f"  began {both_zones(state.begun_at)}{ended}", PLAIN
    names = {
        "until_restored_seconds": "until restored",
        "downtime_seconds": "downtime",
        "whole_seconds": "whole",
        "working_seconds": "of work",
        "waiting_seconds": "waiting for people",
    }
    measures = record(state).get("measures")
    if isinstance(measures, dict):
        told = [
            f"{name} {duration(float(measures[key]))}" for key, name in names.items() if measures.get(key) is not None
        ]
        yield f"  {', '.join(told)}", PLAIN
    lost = loss(state)
    if lost is not None:
        between = f"{both_zones(parse_stamp(lost.start))} to {both_zones(parse_stamp(lost.end))}"
        yield f"  lost: {span(lost.seconds)} of writes, {between}", PLAIN


def _objectives(state: SessionState) -> Iterator[Piece]:
    """Were they kept to? Nothing where none was given."""
    found = objectives(state)
    words = {True: ("met", PLAIN), False: ("MISSED", WARY), None: ("not restored", DIM)}
    for name, key in (("to be restored within", "rto"), ("to lose at most", "rpo")):
        wanted, met = found[f"{key}_seconds"], found[f"{key}_met"]
        if isinstance(wanted, float):
            word, style = words[met if isinstance(met, bool) else None]
            yield f"  objective {name} {span(wanted)}: {word}", style


def _told_to(state: SessionState) -> Iterator[Piece]:
    """What people were told, and first what did not reach them."""
    failed = unsent(state)
    sent = sum(tried.ok for notice in state.notices for tried in notice.attempts.values())
    if not failed and not sent:
        return
    yield f"Messages: {sent} sent" + (f", {len(failed)} NOT SENT (m tries again)" if failed else ""), BOLD
    for notice, channel, why in failed:
        yield f"  NOT SENT {notice.about} to {channel}: {why}", WARY


def _tickets(state: SessionState) -> Iterator[Piece]:
    """What is filed as issues, and first what is not, and why."""
    if not state.tickets:
        return
    failed = list(not_filed(state))
    again = "i tries again" if state.ended is None else f"reinstate tickets {state.id}"
    waits = any(one.result is not None or state.ended is not None for _, one in failed)
    filed = sum(one.filed for one in state.tickets.values())
    yield f"Tickets: {filed} filed" + (f", {len(failed)} not ({again})" if waits else ""), BOLD
    for one, ticket in failed:
        yield f"  {one.key}: {outcome(state, ticket)}", WARY if ticket.result is not None else PLAIN
        if ticket.hint:
            yield f"    {ticket.hint}", DIM


def _listed(heading: str, lines: Iterable[str], nothing: str = "") -> Iterator[Piece]:
    found = list(lines)
    if not found and not nothing:
        return
    yield heading, BOLD
    for line in found or [nothing]:
        yield f"  {line}", PLAIN if found else DIM
