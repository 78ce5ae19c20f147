"""What the console is compared with: the least that a Textual app can be.

`python -m tests.bench.bare` draws one line and answers a key. `python -m tests.bench.bare FOLDER` puts every file of a
folder into a DataTable, and fills it anew with each letter of a filter.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from textual.app import App, ComposeResult
from textual.events import Key
from textual.widgets import DataTable, Input, Label

READY, ANSWERED, HOLDS = "the first screen", "the key was answered", "files: "


class Bare(App[None]):
    def compose(self) -> ComposeResult:
        yield Label(READY)

    def on_key(self, _event: Key) -> None:
        self.query_one(Label).update(ANSWERED)


class Table(App[None]):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._files = [(file, file.stat()) for file in sorted(folder.glob("*.sqlite"), reverse=True)]

    def compose(self) -> ComposeResult:
        yield Label("")
        yield Input()
        yield DataTable()

    def on_mount(self) -> None:
        self.query_one(DataTable).add_columns("taken", "size", "name")
        self._fill("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, letters: str) -> None:
        table = self.query_one(DataTable)
        table.clear()
        kept = [one for one in self._files if letters in one[0].name.casefold()]
        table.add_rows(
            (f"{datetime.fromtimestamp(facts.st_mtime, UTC):%Y-%m-%d %H:%M}", str(facts.st_size), file.name)
            for file, facts in kept
        )
        self.query_one(Label).update(f"{HOLDS}{len(kept)}.")


if __name__ == "__main__":
    (Table(Path(sys.argv[1])) if len(sys.argv) > 1 else Bare()).run(mouse=False)
