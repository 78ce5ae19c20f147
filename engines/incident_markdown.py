"""Reads an incident report in Markdown as the table that `incident.toml` would hold.

Two things are taken from it: lines such as `Started: 2026-11-22 19:40 UTC`, and the tables that give rows for
database tables. All else is prose. What could be read in two ways is a problem that names the line; nothing is
guessed, since a wrong expectation would bless a wrong restore.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engines.errors import Problem
from engines.trusted_file import Written
from engines.values import shown

# What people call things, in small letters, and the key that it fills.
_LABELS: Mapping[str, str] = {
    "incident": "incident.id",
    "incident id": "incident.id",
    "title": "incident.title",
    "severity": "incident.severity",
    "started": "incident.started_at",
    "started at": "incident.started_at",
    "first bad write": "incident.started_at",
    "detected": "incident.detected_at",
    "detected at": "incident.detected_at",
    "declared": "incident.declared_at",
    "declared at": "incident.declared_at",
    "commander": "incident.commander",
    "incident commander": "incident.commander",
    "operator": "incident.operator",
    "database operator": "incident.operator",
    "application owner": "incident.app_owner",
    "channel": "incident.channel",
    "ticket": "incident.ticket",
    "security incident": "incident.security_incident",
    "environment": "target.environment",
    "database": "target.database",
    "host": "target.host",
    "restore point": "objective.restore_point",
    "stop before": "objective.stop_before",
    "rto": "objective.rto",
    "rpo": "objective.rpo",
}
_COLUMNS: Mapping[str, str] = {
    "table": "name",
    "table name": "name",
    "rows": "rows",
    "expected": "rows",
    "expected rows": "rows",
    "rows expected": "rows",
    "count": "rows",
    "expected count": "rows",
    "min": "min_rows",
    "minimum": "min_rows",
    "min rows": "min_rows",
    "at least": "min_rows",
    "max": "max_rows",
    "maximum": "max_rows",
    "max rows": "max_rows",
    "at most": "max_rows",
    "tolerance": "tolerance",
    "±": "tolerance",
    "counted": "counted_at",
    "counted at": "counted_at",
    "source": "source",
    "newest column": "newest_column",
    "newest": "newest_min",
    "newest row": "newest_min",
    "newest at least": "newest_min",
}
_COUNTED = {"rows", "min_rows", "max_rows"}
_NOTHING = {"", "-", "\N{EN DASH}", "—", "?", "n/a", "none", "unknown"}
_LABELLED = re.compile(
    r"\s{0,3}(?:(?:[-*+]|#{1,6})\s+)?(?:\*\*|__)?([A-Za-z][A-Za-z ]{1,30}?)(?:\*\*|__)?:(?:\*\*|__)?\s+(\S.*)"
)
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_RULE = re.compile(r":?-+:?")
_LINK = re.compile(r"\[([^\]]{0,200})\]\([^)]{0,500}\)")  # bounded: a line of brackets must not take minutes
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Digits in groups of three with one kind of gap throughout. A dot is a decimal mark to some: never a gap.
_NUMBER = re.compile(r"[0-9]+|[0-9]{1,3}(?:([,_' \u00a0\u2009\u202f])[0-9]{3})(?:\1[0-9]{3})*")
_TOLERANCE = re.compile(r"(?:±|\+/-)?\s*(.*?)\s*(%?)(?:\s*rows)?")
_WIDTH = 10_000  # characters; a longer line is prose, whatever it looks like
_ROWS = 10_000  # table rows in one report; more is not written by people


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


Lines = dict[str, int]  # dotted key, as problems name it, to the line that gave it


def table_of(written: Written, problems: list[Problem]) -> tuple[dict[str, object], Lines]:
    """The report's facts as a table for `tables.read`, and the line that each came from."""
    report = _Report(written.name, problems, {}, {}, [])
    lines = list(_prose(written.text))
    at = 0
    while at < len(lines):
        rule = lines[at + 1] if at + 1 < len(lines) else None
        if "|" in lines[at].text and rule and rule.number == lines[at].number + 1 and _is_rule(lines[at], rule):
            body = _body(lines, at + 2)
            report.take_table(lines[at], body)
            at += 2 + len(body)
        else:
            report.take_line(lines[at])
            at += 1
    if "incident" not in report.given or "incident.id" not in report.lines:
        report.problem(None, "names no incident.", "Write a line such as: Incident: INC-2041")
        report.given.setdefault("incident", {})["id"] = "?"
    if "table" not in report.lines:
        hint = "Write a table with the columns | table | rows |."
        report.problem(None, "has no table that gives rows for database tables.", hint)
    return {**report.given, "table": report.tables}, report.lines


def place(key: str, lines: Lines) -> str:
    """`line 12` for the dotted key, or for the nearest table around it that has a line; else the key itself."""
    around = key
    while around:
        if around in lines:
            return f"line {lines[around]}"
        around = around.rpartition(".")[0]
    return key


def _prose(text: str) -> Iterator[_Line]:
    """The lines that count: no code blocks, no comments."""
    bare = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    fence = ""
    for number, line in enumerate(bare.split("\n"), start=1):
        mark = _FENCE.match(line)
        if fence:
            closes = mark and mark[1].startswith(fence) and not line[mark.end() :].strip()
            fence = "" if closes else fence
        elif mark:
            fence = mark[1]
        elif len(line) <= _WIDTH:
            yield _Line(number, line.rstrip("\r"))


def _is_rule(header: _Line, rule: _Line) -> bool:
    marks = _cells(rule.text)
    return all(_RULE.fullmatch(mark) for mark in marks) and len(marks) == len(_cells(header.text))


def _body(lines: list[_Line], start: int) -> list[_Line]:
    body: list[_Line] = []
    for line in lines[start:]:
        if "|" not in line.text or (body and line.number != body[-1].number + 1):
            break
        body.append(line)
    return body


def _cells(row: str) -> list[str]:
    """The cells of a row. `\\|` is a bar within a cell."""
    inside = row.strip().removeprefix("|")
    parts = re.split(r"(?<!\\)\|", inside)
    if parts and not parts[-1].strip():
        parts.pop()
    return [part.strip().replace("\\|", "|") for part in parts]


def _plain(cell: str) -> str:
    """A cell without the marks around its text: code, bold, italic, links, escapes."""
    bare = _LINK.sub(r"\1", cell).strip()
    for mark in ("**", "__", "`", "*"):
        if len(bare) > 2 * len(mark) and bare.startswith(mark) and bare.endswith(mark):
            bare = bare[len(mark) : -len(mark)].strip()
    return re.sub(r"\\([_*`|\\#~-])", r"\1", bare)


def _number(cell: str) -> int | None:
    return int(re.sub(r"[^0-9]", "", cell)) if len(cell) <= 30 and _NUMBER.fullmatch(cell) else None


@dataclass(frozen=True, slots=True)
class _Report:
    file: str
    problems: list[Problem]
    given: dict[str, dict[str, object]]
    lines: Lines
    tables: list[dict[str, object]]

    def problem(self, line: _Line | None, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, f"line {line.number}" if line else "", message, hint))

    def take_line(self, line: _Line) -> None:
        match = _LABELLED.fullmatch(line.text)
        key = _LABELS.get(match[1].strip().lower()) if match else None
        if match is None or key is None:
            return
        group, name = key.split(".")
        value: object = _plain(match[2])
        if name == "security_incident":
            value = {"yes": True, "no": False}.get(str(value).lower(), value)
        before = self.given.setdefault(group, {}).setdefault(name, value)
        if before != value:
            first = self.lines[key]
            self.problem(line, f"{match[1].strip()} is {shown(str(before))} in line {first}.", "Keep one of them.")
        self.lines.setdefault(key, line.number)

    def take_table(self, header: _Line, body: list[_Line]) -> None:
        columns = [_COLUMNS.get(_plain(cell).lower()) for cell in _cells(header.text)]
        if "name" not in columns or not {"rows", "min_rows", "max_rows", "newest_min"} & set(columns):
            return  # a table about something else
        for column in sorted({c for c in columns if c and columns.count(c) > 1}):
            self.problem(header, f"has two columns for {column}.", "Keep one, or call the other what it is.")
            return
        self.lines.setdefault("table", header.number)
        if not body:
            self.problem(header, "has no rows beneath it.", "Write a row for each database table.")
        for line in body:
            if len(self.tables) >= _ROWS:
                self.problem(line, f"is the row after {_ROWS}.", "Is it the right file?")
                return
            self.take_row(line, columns)

    def take_row(self, line: _Line, columns: list[str | None]) -> None:
        cells = [_plain(cell) for cell in _cells(line.text)]
        if len(cells) != len(columns):
            message = f"has {len(cells)} cells, but the table has {len(columns)} columns."
            self.problem(line, message, "Write \\| for a bar within a cell, and — for nothing.")
            return
        row: dict[str, object] = {}
        for column, cell in zip(columns, cells, strict=True):
            if column == "name":
                row["name"] = cell
            elif column and cell.lower() not in _NOTHING:
                value = self.value(line, column, cell)
                for twice in row.keys() & value.keys():
                    self.problem(line, f"says {twice} in two cells.", "Keep one of them.")
                row |= value
        if not row.get("name"):
            self.problem(line, "names no table.", "Write the table's name in its column.")
            return
        self.tables.append(row)
        self.lines[f"table[{len(self.tables)}]"] = line.number

    def value(self, line: _Line, column: str, cell: str) -> dict[str, object]:
        """The keys that one cell fills; none, and a problem, where it could mean two things."""
        if column == "tolerance":
            return self.tolerance(line, cell)
        if column == "newest_min":
            number = _number(cell)
            return {column: cell if number is None else number}
        if column not in _COUNTED:
            return {column: cell}
        amount, _, slack = cell.partition("±")
        if column == "rows" and slack:
            return self.value(line, "rows", amount.strip()) | self.tolerance(line, slack)
        least = re.fullmatch(r"(?:≥|>=|at least)\s*(.*)", amount, re.IGNORECASE)
        most = re.fullmatch(r"(?:≤|<=|at most)\s*(.*)", amount, re.IGNORECASE)
        key = "min_rows" if least else "max_rows" if most else column
        if column != "rows" and key != column:
            self.problem(line, f"{shown(cell)} contradicts its column.", "Write the number alone.")
            return {}
        number = _number((least or most or [amount, amount])[1].strip())
        if number is None:
            self.problem(line, f"{shown(cell)} is not a count.", "Write digits, as in 48 209 377 or 48,209,377.")
            return {}
        return {key: number}

    def tolerance(self, line: _Line, cell: str) -> dict[str, object]:
        match = _TOLERANCE.fullmatch(cell.strip())
        amount = match[1] if match else ""
        number = _number(amount)
        if match and match[2] and re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,6})?", amount):
            return {"tolerance_pct": float(amount)}
        if match and not match[2] and number is not None:
            return {"tolerance_rows": number}
        self.problem(line, f"{shown(cell.strip())} is not a tolerance.", "Write 5 for rows, or 0.1 % for a share.")
        return {}
