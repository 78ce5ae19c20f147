"""Something is agreed to or noted by typing: a name, a reason, the target's name. Enter in the last field asks for it.

It closes when what was asked for has happened; a refusal is shown in it, and what was typed stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from engines.errors import RestoreError
from engines.session.commands import Command
from engines.text import drawable
from tui.theme import BOLD, WARY
from tui.widgets.box import box
from tui.widgets.cells import wrapped
from tui.widgets.header import Header
from tui.widgets.passage import FRAME, Passage, inner_width
from tui.widgets.words import tell

LONG = 12  # lines of text from which the dialogue takes the whole width
_WIDEST, _EDGES = 76, 4  # cells of the box, and of its border and padding


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to type. A required one is asked for; nothing else about it is decided here."""

    id: str
    label: str
    value: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """What a dialogue says and asks, and what it makes of the answers.

    `command` raises RestoreError to refuse them; where it gives no command, there is nobody to ask.
    """

    title: str
    lines: tuple[str, ...]
    fields: tuple[Field, ...]
    does: str  # what Enter does: "approves this plan"
    command: Callable[[Mapping[str, str]], Command | None]
    live: Callable[[Mapping[str, str]], str] | None = None  # what is said about the answers while they are typed


class FormModal(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("pageup", "read(-1)", show=False),
        Binding("pagedown", "read(1)", show=False),
        Binding("up", "line(-1)", show=False),
        Binding("down", "line(1)", show=False),
    ]
    DEFAULT_CSS = """
    FormModal { align: center middle; }
    FormModal #box {
        width: 76; max-width: 96%; height: auto; max-height: 100%;
        background: $panel; padding: 0 1; border: round $primary;
    }
    FormModal.-long #box { width: 100%; max-width: 100%; max-height: 100%; }
    FormModal Static, FormModal Label { height: auto; width: 100%; }
    FormModal Input { background: $background; margin-bottom: 0; }
    """

    class Submitted(Message):
        def __init__(self, modal: FormModal, command: Command) -> None:
            super().__init__()
            self.modal = modal
            self.command = command

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self._asked = False
        self._refusal = ""
        self.set_class(len(form.lines) > LONG, "-long")

    def compose(self) -> ComposeResult:
        yield Header()
        with Vertical(id="box"):
            yield Static(Text(drawable(self.form.title), BOLD), markup=False)
            yield Passage(self.form.lines)
            for field in self.form.fields:
                yield Label(drawable(field.label), markup=False)
                yield box(field.value, f"field-{field.id}")
            yield Static("", id="live", markup=False)
            yield Static("", id="refusal", markup=False)
            yield Static("", id="keys", markup=False)

    def on_mount(self) -> None:
        tell(self.query_one("#refusal", Static), Text(""))
        tell(self.query_one("#live", Static), Text(self._live()))
        empty = [field.id for field in self.form.fields if not field.value]
        self.query_one(f"#field-{empty[0] if empty else self.form.fields[-1].id}", Input).focus()
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        width = inner_width(self.size.width, whole=self.has_class("-long"))
        labels = sum(len(wrapped(field.label, width)) + 1 for field in self.form.fields)
        said = sum(len(wrapped(text, width)) for text in (self._refusal, self._live()) if text)
        passage = self.query_one(Passage)
        room = self.size.height - FRAME - labels - said - len(wrapped(self._keys(scrolls=True), width))
        passage.fit(width, room)
        tell(self.query_one("#keys", Static), Text(self._keys(scrolls=passage.scrolls), BOLD))

    def _keys(self, *, scrolls: bool) -> str:
        return f"Enter {self.form.does}   Esc back" + ("   ↑ ↓ PgUp PgDn read" if scrolls else "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._asked:
            return
        values = self._values()
        missing = next((f for f in self.form.fields if f.required and not values[f.id].strip()), None)
        if missing is not None:
            self.query_one(f"#field-{missing.id}", Input).focus()
            if event.input.id == f"field-{missing.id}":
                self.refuse(f"{missing.label}: type it first. Nothing was changed.", "")
            return
        try:
            command = self.form.command(values)
        except RestoreError as error:
            self.refuse(error.message, error.hint)
            return
        self._asked = True
        if command is None:
            self.dismiss()
            return
        self._say("asking the runner …")
        self.post_message(self.Submitted(self, command))

    def _values(self) -> dict[str, str]:
        return {field.id: self.query_one(f"#field-{field.id}", Input).value for field in self.form.fields}

    def _live(self) -> str:
        return drawable(self.form.live(self._values())) if self.form.live is not None else ""

    def refuse(self, message: str, hint: str) -> None:
        """Say why not, and let it be tried again."""
        self._asked = False
        self._say(f"{message} {hint}".strip())

    def action_leave(self) -> None:
        if not self._asked:
            self.dismiss()

    def action_read(self, by: int) -> None:
        self.query_one(Passage).page(by)

    def action_line(self, by: int) -> None:
        self.query_one(Passage).move(by)

    def on_input_changed(self) -> None:
        # What was wrong with the last answer is not wrong with this one.
        if not self._asked:
            self._say("")
        if self.form.live is not None:
            tell(self.query_one("#live", Static), Text(self._live()))
            self._fit()

    def _say(self, text: str) -> None:
        if text != self._refusal:
            self._refusal = text
            tell(self.query_one("#refusal", Static), Text(drawable(text), WARY + BOLD))
            self._fit()
