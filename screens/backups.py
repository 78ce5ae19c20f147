"""Which backup can be trusted? The catalogue with its checksum statuses, newest first."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import var
from textual.screen import Screen
from textual.widgets import Static

from engines.backups.catalogue import Backup, Status
from engines.backups.checksums import shown
from engines.recipes.mysql.until import told
from engines.recipes.points import likely
from engines.text import count
from tui.blocked import blocked
from tui.keys import FILTERED, Pressed, bindings
from tui.pages import Next, at_stake, upcoming
from tui.view import Line, Page, Shelf, View
from tui.widgets.backups import about, backup_line, head, note
from tui.widgets.box import Box
from tui.widgets.frame import framed, show_frame
from tui.widgets.header import Header
from tui.widgets.rows import Rows
from tui.widgets.timeline import Timeline
from tui.widgets.words import tell

PAGE = Page.BACKUPS
_ROWS_FOR_ALL = 22  # with fewer the picture leaves no row of the list beside a first-time hint or what is amiss


class Filter(Box):
    """Narrows the list while it is typed; Enter keeps the filter, Esc takes it away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.unfilter", show=False),
        Binding("down", "screen.filtered", show=False),
    ]


class BackupsScreen(Screen[None]):
    BINDINGS = bindings(PAGE)
    DEFAULT_CSS = """
    BackupsScreen.-crowded Timeline { display: none; }
    BackupsScreen #filter { display: none; }
    BackupsScreen #note { height: auto; max-height: 3; padding: 0 1; }
    BackupsScreen #about { height: auto; max-height: 6; padding: 0 1; }
    """

    view: var[View] = var(View(), init=False)
    composed = False  # from on_mount on there is something to draw on
    shelf: var[Shelf] = var(Shelf(), init=False)

    def compose(self) -> ComposeResult:
        letters = Filter(placeholder=FILTERED, id="filter", compact=True)
        letters.cursor_blink = False
        yield from framed(
            PAGE,
            Timeline(),
            Static("", id="note", markup=False),
            letters,
            Rows("Backups", id="backups", empty="reading …"),
            Static("", id="about", markup=False),
        )

    def on_mount(self) -> None:
        self.composed = True
        self.query_one(Rows).focus()
        self.watch_shelf(self.shelf)

    def on_resize(self) -> None:
        self.watch_shelf(self.shelf)

    def watch_view(self, _view: View) -> None:
        self._show_selected()

    def watch_shelf(self, shelf: Shelf) -> None:
        if not self.composed:
            return
        panel = self.query_one("#backups", Rows)
        backups = self._filtered()
        panel.show(
            [backup.where for backup in backups],
            lambda index, width: backup_line(backups[index], shelf, self.view.now, width),
            head=head(max(panel.size.width - 2, 0)) if backups else None,
            note=_tally(shelf, len(backups)),
            prefer=_likely(shelf),
            empty=_empty(shelf),
        )
        tell(self.query_one("#note", Static), note(shelf))
        self._show_selected()

    def on_descendant_focus(self) -> None:
        self._show_selected()

    def on_rows_moved(self) -> None:
        self._show_selected()

    def _show_selected(self) -> None:
        if not self.composed:
            return
        backup = self.shelf.find(self.subject)
        now = self.view.now
        amiss = bool(note(self.shelf).plain)
        self.set_class((bool(self.view.hint) or amiss) and self.size.height < _ROWS_FOR_ALL, "-crowded")
        tell(self.query_one("#about", Static), about(backup, self.shelf, now))
        self.query_one(Timeline).show(self.shelf, now, _moment(backup))
        self.query_one(Header).tell(
            self.shelf.environment, f"{self.shelf.target}  {at_stake(self.shelf.engine, self.shelf.address)}"
        )
        show_frame(self, PAGE, self.view, self.subject, self._next(backup))

    def _next(self, backup: Backup | None) -> Next:
        if self.query_one("#filter", Filter).has_focus:
            return Next(f"Type {FILTERED}. Enter keeps the filter, Esc takes it away.", typing=True)
        if self.view.state.begun is not None and self.view.line is not Line.ALIVE:
            return upcoming(self.view, PAGE)
        if backup is None:
            return Next(_nothing(self.shelf))
        if self.view.state.begun is not None:
            if backup.name == self.shelf.chosen:
                coming = upcoming(self.view, PAGE)
                until = f" Restored {told(self.shelf.until)}." if self.shelf.until is not None else ""
                return Next(coming.text + until, coming.enter)
            reason = blocked("choose", self.view, self.subject)
            other = "Enter chooses the selected one instead."
            return Next(f"This session restores {self._chosen()}. {reason or other}", "" if reason else "choose")
        if backup.status is Status.VERIFIED:
            if self.shelf.is_server:
                return Next("Enter chooses this dump and asks up to when. A plan is approved first.", "choose")
            return Next("Enter chooses this backup. Nothing is changed before a plan is approved.", "choose")
        if backup.unread:
            return Next("Enter chooses this backup: it is in a bucket, and is compared while it is staged.", "choose")
        return Next(f"{backup.status}: it can't be restored unless the incident commander overrides.", "choose")

    def _chosen(self) -> str:
        until = self.shelf.until
        return f"{self.shelf.chosen}, {told(until)}" if until is not None else self.shelf.chosen

    # -- the filter ---------------------------------------------------------------------------------------

    def start_filter(self) -> None:
        box = self.query_one("#filter", Filter)
        box.display = True
        box.focus()

    def on_input_changed(self) -> None:
        self.watch_shelf(self.shelf)

    def on_input_submitted(self) -> None:
        self.action_filtered()

    def action_filtered(self) -> None:
        self.query_one(Rows).focus()

    def action_unfilter(self) -> None:
        box = self.query_one("#filter", Filter)
        box.value = ""
        box.display = False
        self.query_one(Rows).focus()

    def _filtered(self) -> tuple[Backup, ...]:
        backups = self.shelf.catalogue.backups if self.shelf.catalogue else ()
        letters = self.query_one("#filter", Filter).value.strip().casefold()
        if not letters:
            return backups
        return tuple(
            one for one in backups if letters in _told(one.name, one.taken_at) or letters in one.status.casefold()
        )

    # -- keys ---------------------------------------------------------------------------------------------

    @property
    def subject(self) -> str:
        return self.query_one("#backups", Rows).selected

    def action_press(self, key: str) -> None:
        if key == "filter":
            self.start_filter()
        elif key == "back" and self.query_one("#filter", Filter).display:
            self.action_unfilter()
        else:
            self.post_message(Pressed(key, self.subject))


@lru_cache(maxsize=1 << 15)  # each letter of a filter asks for all of them
def _told(name: str, taken_at: datetime) -> str:
    return f"{shown(name)} {taken_at:%Y-%m-%d %H:%M}".casefold()


def _likely(shelf: Shelf) -> str:
    """Where the cursor begins."""
    first = likely(shelf.catalogue, shelf.incident_start, shelf.chosen) if shelf.catalogue else None
    return first.where if first else ""


def _nothing(shelf: Shelf) -> str:
    """What can be done where no backup is selected."""
    if shelf.catalogue is None and not shelf.trouble:
        return "The list of backups is being read. Nothing to press yet."
    if shelf.catalogue is not None and shelf.catalogue.backups:
        return "No backup matches the filter. Esc takes it away."
    return "There is no backup to choose. Esc: back to the targets; or look where the message above says."


def _moment(backup: Backup | None) -> datetime | None:
    return backup.taken_at if backup else None


def _tally(shelf: Shelf, shown_count: int) -> str:
    if shelf.catalogue is None:
        return ""
    backups = shelf.catalogue.backups
    verified = sum(backup.status is Status.VERIFIED for backup in backups)
    pending = sum(backup.status in (Status.UNCHECKED, Status.CHECKING) for backup in backups)
    words = [f"{count(verified)} of {count(len(backups))} VERIFIED"]
    if pending:
        words.append(f"{count(pending)} to check")
    if shown_count != len(backups):
        words.append(f"filter: {count(shown_count)}")
    return ", ".join(words)


def _empty(shelf: Shelf) -> str:
    if shelf.trouble:
        return "It can't be read."
    if shelf.catalogue is None:
        return "reading …"
    return (
        "none match the filter; Esc takes it away" if shelf.catalogue.backups else f"{shelf.catalogue.folder} is empty"
    )
