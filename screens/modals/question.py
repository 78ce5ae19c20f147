"""A question with a few answers, each under its own key. Esc never does anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from engines.text import drawable
from tui.theme import BOLD, DIM, WARY
from tui.widgets.cells import wrapped
from tui.widgets.header import Header
from tui.widgets.passage import FRAME, Passage, inner_width
from tui.widgets.words import tell


@dataclass(frozen=True, slots=True)
class Answer:
    """`blocked` says why this answer can't be given now; it is listed all the same."""

    key: str  # as Textual names it: a letter, "enter"
    label: str
    value: str
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    title: str
    lines: tuple[str, ...]
    answers: tuple[Answer, ...]


def _shown(answer: Answer) -> str:
    return "Enter" if answer.key == "enter" else answer.key


class QuestionModal(ModalScreen[str]):
    """Gives the answer's value; an empty text for Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", show=False),
        Binding("pageup", "read(-1)", show=False),
        Binding("pagedown", "read(1)", show=False),
        Binding("up", "line(-1)", show=False),
        Binding("down", "line(1)", show=False),
    ]
    DEFAULT_CSS = """
    QuestionModal { align: center middle; }
    QuestionModal #box {
        width: 76; max-width: 96%; height: auto; max-height: 100%;
        background: $panel; padding: 0 1; border: round $primary;
    }
    QuestionModal Static { height: auto; width: 100%; }
    QuestionModal #answers { margin-top: 1; }
    """

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        yield Header()
        with Vertical(id="box"):
            yield Static(Text(drawable(self.question.title), BOLD), markup=False)
            yield Passage(self.question.lines)
            yield Static("", id="answers", markup=False)
            yield Static("", id="said", markup=False)

    def on_mount(self) -> None:
        tell(self.query_one("#said", Static), Text(""))
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        width = inner_width(self.size.width, whole=False)
        answers = self._answers(width)
        self.query_one("#answers", Static).update(answers)
        said = 1 if self.query_one("#said", Static).display else 0
        self.query_one(Passage).fit(width, self.size.height - FRAME - len(answers.plain.split("\n")) - said)

    def action_read(self, by: int) -> None:
        self.query_one(Passage).page(by)

    def action_line(self, by: int) -> None:
        self.query_one(Passage).move(by)

    def _answers(self, width: int) -> Text:
        text = Text()
        for answer in self.question.answers:
            reason = f" (not now: {answer.blocked})" if answer.blocked else ""
            lines = wrapped(f"{_shown(answer):>6}  {answer.label}{reason}", width)
            text.append("\n".join(lines) + "\n", DIM if answer.blocked else BOLD)
        text.append("   Esc  back; nothing is changed")
        return text

    def on_key(self, event: events.Key) -> None:
        for answer in self.question.answers:
            if event.key == answer.key and not answer.blocked:
                event.stop()
                self.dismiss(answer.value)
                return
        if event.is_printable or event.key == "enter":
            self._refuse("Enter" if event.key == "enter" else event.character or event.key)

    def _refuse(self, pressed: str) -> None:
        """A key that does nothing says so."""
        keys = [_shown(answer) for answer in self.question.answers if not answer.blocked]
        tell(self.query_one("#said", Static), Text(f"{pressed} does nothing here. {', '.join((*keys, 'Esc'))}.", WARY))
        self._fit()

    def action_back(self) -> None:
        self.dismiss("")
