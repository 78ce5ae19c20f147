"""The one table of keys: bindings, footer and help are made from it, and a test compares the README's list with it.

Plain letters, digits, Enter, Esc, Tab, arrows, `?` and F1 only: chords do not survive every terminal and multiplexer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from textual.binding import Binding, BindingType
from textual.message import Message

from tui.view import SESSION_PAGES, Page

FILTERED = "letters of a name, a status or a time"
_ALL = frozenset(Page)
_SESSION = frozenset(SESSION_PAGES)
_STEPS = frozenset({Page.READINESS, Page.RESTORE})
_RUNNING = frozenset({Page.READINESS, Page.RESTORE, Page.VALIDATION, Page.HANDOVER})


@dataclass(frozen=True, slots=True)
class Key:
    """What one key does, and where. `rank` orders the footer, where only the first few fit; None leaves it to help."""

    id: str
    key: str  # as Textual names it
    shown: str
    label: str  # a word or two, for the footer
    help: str
    pages: frozenset[Page]
    rank: int | None = None


KEYS = (
    Key("help", "question_mark,f1", "?", "help", "This list of keys. F1 does the same.", _ALL, 0),
    Key(
        "enter",
        "enter",
        "Enter",
        "go on",
        "What comes next, as the line above the keys says: open, confirm, sign.",
        _ALL,
        1,
    ),
    Key(
        "again",
        "r",
        "r",
        "try again",
        "Run the failed step again from its start; else ask the selected check again.",
        _STEPS | {Page.VALIDATION},
        3,
    ),
    Key("approve", "a", "a", "approve", "Read the whole plan and approve it as the incident commander.", _STEPS, 2),
    Key("plan", "v", "v", "plan", "Read the plan in force: steps, exact commands, undo, estimate, loss.", _STEPS, 7),
    Key(
        "verify", "v", "v", "verify", "Compare the selected backup with its checksum now.", frozenset({Page.BACKUPS}), 3
    ),
    Key(
        "filter",
        "slash",
        "/",
        "filter",
        f"Show only some backups, by {FILTERED}.",
        frozenset({Page.BACKUPS}),
        2,
    ),
    Key(
        "until",
        "t",
        "t",
        "up to when",
        "Choose anew how far the binary logs are replayed after this dump.",
        frozenset({Page.BACKUPS}),
        4,
    ),
    Key(
        "explore",
        "e",
        "e",
        "explore",
        "Look at the transactions in the staged logs: stop just before one, leave one out, search.",
        frozenset({Page.READINESS}),
        4,
    ),
    Key(
        "override",
        "o",
        "o",
        "override",
        "The incident commander lets a blocking check pass, by name and with a reason, in the record.",
        frozenset({Page.READINESS, Page.VALIDATION}),
        4,
    ),
    Key(
        "answer",
        "f",
        "f",
        "tried",
        "The application owner tried the selected functional check: passed or failed, by name, with a note.",
        frozenset({Page.VALIDATION}),
        2,
    ),
    Key(
        "follow-up",
        "f",
        "f",
        "follow-up",
        "Give the selected follow-up its owner and date, or change its words.",
        frozenset({Page.HANDOVER}),
        2,
    ),
    Key(
        "new-follow-up",
        "t",
        "t",
        "to do",
        "Write down something that is to be done; a note that begins with todo: is the same.",
        frozenset({Page.HANDOVER}),
        3,
    ),
    Key(
        "file",
        "i",
        "i",
        "file it",
        "File the selected follow-up as an issue on GitHub, once what it says was shown.",
        frozenset({Page.HANDOVER}),
        3,
    ),
    Key(
        "file-all",
        "a",
        "a",
        "file all",
        "File every follow-up that has no ticket yet.",
        frozenset({Page.HANDOVER}),
        4,
    ),
    Key(
        "checklist",
        "c",
        "c",
        "checklist",
        "Show the line for the security checklist, and write it once it is confirmed.",
        frozenset({Page.HANDOVER}),
        4,
    ),
    Key(
        "send-again",
        "m",
        "m",
        "send again",
        "Try again to send what did not arrive.",
        frozenset({Page.HANDOVER}),
        4,
    ),
    Key(
        "grid",
        "t",
        "t",
        "other grid",
        "Look at the other grid: live database, staged copy, or old database after an undo.",
        frozenset({Page.VALIDATION}),
        3,
    ),
    Key(
        "stop",
        "s",
        "s",
        "stop safely",
        "Stop the step under way at the next safe place; says first what that leaves behind.",
        _STEPS,
        2,
    ),
    Key("undo", "u", "u", "undo", "Go back: everything that was changed is put right again.", _RUNNING, 5),
    Key("skip", "p", "p", "pass over", "Leave out an optional step, with a reason that is recorded.", _STEPS, None),
    Key(
        "other-backup",
        "b",
        "b",
        "other backup",
        "Choose another backup, on page 1; possible until the restore has begun.",
        _SESSION - {Page.BACKUPS},
        None,
    ),
    Key("log", "l", "l", "log", "The selected step's log on the whole screen.", _STEPS, 6),
    Key("command", "c", "c", "command", "The exact commands of the selected step.", _STEPS, None),
    Key(
        "copy",
        "y",
        "y",
        "copy",
        "Copy the selected step's exact commands, the selected backup's path, or the record's; names the file.",
        _SESSION,
        None,
    ),
    Key("note", "n", "n", "note", "Write something down for the post-mortem.", _SESSION, 8),
    Key(
        "keyboard", "k", "k", "keyboard", "Take the keyboard over from another console; it is recorded.", _SESSION, None
    ),
    Key(
        "abandon",
        "x",
        "x",
        "abandon",
        "End the session for good and leave everything as it is; says first what that leaves behind.",
        _RUNNING,
        None,
    ),
    Key("resume", "R", "R", "resume", "Start a runner again on a session whose runner is gone.", _SESSION, 2),
    Key("hide", "h", "h", "hide hint", "Hide the first-time hint of this screen.", _ALL, None),
    *(
        Key(f"page-{number}", str(number), str(number), str(page), f"Look at {page}.", _ALL)
        for number, page in enumerate(SESSION_PAGES, 1)
    ),
    Key("back", "escape", "Esc", "back", "Back: to the page where the next key is, or to the list of targets.", _ALL),
    Key("leave", "q", "q", "leave", "Leave the console. A session goes on without it; nothing is stopped.", _ALL, 9),
)

# Keys that every terminal and every dialogue has, for the help page.
ALWAYS = (
    ("Tab", "To the next panel. Shift+Tab goes back."),
    ("↑ ↓ PgUp PgDn Home End", "Move in the panel; in a log, End follows it again, ← → move sideways."),
    ("Ctrl+C", "Asks first: stop the step safely, leave it running, or go back."),
)


class Pressed(Message):
    """A key of the table was pressed on a screen. `subject` is what is selected there: a step, a check, a backup."""

    def __init__(self, key: str, subject: str = "") -> None:
        super().__init__()
        self.key = key
        self.subject = subject


@dataclass(frozen=True, slots=True)
class Label:
    """A key as the footer shows it now. `blocked` says why it does nothing."""

    shown: str
    label: str
    blocked: str = ""


def in_words() -> list[tuple[str, str]]:
    """Every key and what it does, for the README. Where a key means several things, with the page of each."""
    told: dict[str, list[tuple[Key, str]]] = {}
    for key in KEYS:
        if not key.id.startswith("page-"):
            told.setdefault(key.shown, []).append((key, key.help))
    rows = [(shown, _told(meant)) for shown, meant in told.items()]
    pages = ("1 … 5", f"Look at a page of the session: {', '.join(page.capitalize() for page in SESSION_PAGES)}.")
    return [*rows, pages, *ALWAYS]


def _told(meant: list[tuple[Key, str]]) -> str:
    if len(meant) == 1:
        return meant[0][1]
    pages = {key.id: " and ".join(page.capitalize() for page in Page if page in key.pages) for key, _ in meant}
    return " ".join(f"On {pages[key.id]}: {text[0].lower()}{text[1:]}" for key, text in meant)


def keys_of(page: Page) -> Iterator[Key]:
    return (key for key in KEYS if page in key.pages)


def named(key_id: str) -> Key:
    return next(key for key in KEYS if key.id == key_id)


def bindings(page: Page) -> list[BindingType]:
    """The bindings of a page's screen. Each calls the screen's `action_press`."""
    return [Binding(key.key, f"press('{key.id}')", key.label, show=False) for key in keys_of(page)]
