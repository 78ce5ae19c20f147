"""The incident report, as TOML and as Markdown: read whole, or refused with every line that is in doubt."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import expectations, incident, incident_markdown, tables
from engines.errors import Problem
from engines.incident import Expectation, Incident, IncidentError
from engines.trusted_file import Written

DOCS = Path(__file__).parents[2] / "docs"
KINDS = (
    incident.About,
    incident.IncidentTarget,
    incident.Objective,
    Expectation,
    expectations.Question,
    expectations.Schema,
    expectations.Smoke,
    expectations.LogExpectation,
    expectations.Metric,
    expectations.Exposure,
    expectations.Credential,
    expectations.Stopped,
)
LEAST = '[incident]\nid = "INC-1"\n'
REPORT = "Incident: INC-1\n\n| table | rows |\n|---|---|\n"


def toml(text: str, folder: Path) -> Incident:
    path = folder / "incident.toml"
    path.write_text(text)
    return incident.read_incident(path, privileged=False)


def markdown(text: str, folder: Path) -> Incident:
    path = folder / "report.md"
    path.write_text(text)
    return incident.read_incident(path, privileged=False)


def refused(text: str, folder: Path, name: str = "incident.toml") -> tuple[Problem, ...]:
    path = folder / name
    path.write_text(text)
    with pytest.raises(IncidentError) as refusal:
        incident.read_incident(path, privileged=False)
    assert "in the incident report. Nothing was started." in str(refusal.value)
    assert "docs/incident.example.toml" in refusal.value.hint
    return refusal.value.problems


def first_table(cells: str, folder: Path, columns: str = "| table | rows |") -> Expectation:
    rule = "|---" * (columns.count("|") - 1) + "|"
    return markdown(f"Incident: INC-1\n\n{columns}\n{rule}\n{cells}\n", folder).tables[0]


# --- TOML


def test_the_least_incident_is_its_number(tmp_path: Path) -> None:
    read = toml(LEAST, tmp_path)
    assert read.about.id == "INC-1"
    assert read.tables == ()
    assert read.objective.restore_point == "latest"


def test_the_file_and_the_digest_of_its_bytes_are_kept(tmp_path: Path) -> None:
    assert toml(LEAST, tmp_path).source == incident.Source(
        str(tmp_path / "incident.toml"), hashlib.sha256(LEAST.encode()).hexdigest()
    )


def test_an_incident_survives_a_plan_unchanged() -> None:
    for name in ("incident.example.toml", "incident-report.example.md"):
        read = incident.read_incident(DOCS / name, privileged=False)
        assert incident.from_table(json.loads(json.dumps(incident.to_table(read)))) == read


def test_an_incident_that_was_changed_into_nonsense_is_refused() -> None:
    with pytest.raises(IncidentError):
        incident.from_table({"incident": {"id": 7}})


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    problems = refused(
        """
[incident]
id = "INC-1"
started_at = 2026-11-22T19:40:00
[objective]
restore_point = "yesterday"
[source]
file = "x"
[[table]]
name = "users"
rows = -1
[[table]]
name = "orders"
tolerance_pct = 120
[[table]]
name = "a"
min_rows = 5
max_rows = 4
newest_column = "id"
[[table]]
name = "b"
rows = 1
min_rows = 1
[[must_contain]]
query = "DELETE FROM users"
[[smoke]]
name = "page"
[[metric]]
name = "errors"
query = "x"
url = "http://a/b"
[[stopped]]
name = "worker"
kind = "demon"
proof = "systemctl status"
""",
        tmp_path,
    )
    assert {p.key for p in problems} == {
        "incident.started_at",
        "objective.restore_point",
        "source",
        "table[1].rows",
        "table[2].tolerance_pct",
        "table[3].min_rows",
        "table[3].newest_min",
        "table[4].rows",
        "must_contain[1].query",
        "smoke[1].command",
        "metric[1].query",
        "stopped[1].kind",
        "stopped[1].proof",
    }


def test_a_table_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (problem,) = refused(LEAST + '[[table]]\nname = "users"\n[[table]]\nname = "Users"\n', tmp_path)
    assert problem.key == "table[2].name"


def test_detected_before_started_is_refused(tmp_path: Path) -> None:
    text = LEAST + "started_at = 2026-11-22T19:40:00Z\ndetected_at = 2026-11-22T20:39:00+01:00\n"
    assert [p.key for p in refused(text, tmp_path)] == ["incident.detected_at"]


def test_a_loss_is_accepted_by_somebody(tmp_path: Path) -> None:
    (problem,) = refused(LEAST + '[objective]\nmax_loss_accepted = "1h"\n', tmp_path)
    assert problem.key == "objective.accepted_by"


@pytest.mark.parametrize(
    ("expectation", "bounds"),
    [
        (Expectation("t"), (None, None)),
        (Expectation("t", rows=100), (100, 100)),
        (Expectation("t", rows=100, tolerance_rows=5), (95, 105)),
        (Expectation("t", rows=1000, tolerance_pct=0.15, tolerance_rows=1), (999, 1001)),
        (Expectation("t", rows=1000, tolerance_pct=5.0), (950, 1050)),
        (Expectation("t", rows=3, tolerance_rows=5), (0, 8)),
        (Expectation("t", min_rows=7), (7, None)),
    ],
)
def test_a_tolerance_becomes_bounds(expectation: Expectation, bounds: tuple[int | None, int | None]) -> None:
    assert expectation.bounds == bounds


@pytest.mark.parametrize(
    "text", ["", "[incident", '[incident]\nid = "a"\nid = "b"\n', "a = " + "[\n" * 9999, '[incident]\nid = "\x1b[2J"\n']
)
def test_a_damaged_or_hostile_incident_is_one_problem(text: str, tmp_path: Path) -> None:
    (problem,) = refused(text, tmp_path)
    assert problem.hint
    assert "\x1b" not in str(problem)


def test_an_incident_that_is_missing_a_folder_or_huge_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "huge.md").write_bytes(b"x" * 10_000_000)
    for name in ("none.toml", "none.md", "", "huge.md"):
        with pytest.raises(IncidentError) as refusal:
            incident.read_incident(tmp_path / name, privileged=False)
        assert len(refusal.value.problems) == 1


def test_a_privileged_run_refuses_an_incident_that_others_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))  # the tests need not run as root
    for name in ("incident.toml", "report.md"):
        path = tmp_path / name
        path.write_text(LEAST)
        path.chmod(0o666)
        with pytest.raises(IncidentError) as refusal:
            incident.read_incident(path, privileged=True)
        assert "can be written by everybody" in refusal.value.message


# --- Markdown


def test_the_example_report_says_what_it_seems_to_say() -> None:
    read = incident.from_markdown(DOCS / "incident-report.example.md", privileged=False)
    assert read.about.id == "INC-2041"
    assert read.about.started_at == datetime(2026, 11, 22, 19, 40, tzinfo=UTC)
    assert read.about.commander == "boris"
    assert [(t.name, *t.bounds) for t in read.tables] == [
        ("users", 119_995, 120_005),
        ("transactions", 48_161_168, 48_257_586),
        ("audit_logs", 9_100_000, None),
    ]
    assert read.tables[1].newest_min == datetime(2026, 11, 22, 18, 55, tzinfo=UTC)


@pytest.mark.parametrize(
    "cell",
    [
        "48209377",
        "48 209 377",
        "48,209,377",
        "48_209_377",
        "48'209'377",
        "48\u00a0209\u00a0377",
        "48\u202f209\u202f377",
        "`48209377`",
        "**48 209 377**",
    ],
)
def test_thousands_may_be_set_apart(cell: str, tmp_path: Path) -> None:
    assert first_table(f"| users | {cell} |", tmp_path).rows == 48_209_377


@pytest.mark.parametrize(
    "cell",
    [
        "1.234",
        "1,23",
        "1,234 567",
        "12,34,567",
        "-5",
        "~100",
        "100-200",
        "1e6",
        "about 5",
        "٣",
        "0x10",
        "≥",
        "9" * 40,
        "5\\|6",
    ],
)
def test_a_number_that_could_mean_two_things_is_refused_with_its_line(cell: str, tmp_path: Path) -> None:
    problems = refused(f"{REPORT}| good | 1 |\n| users | {cell} |\n", tmp_path, "report.md")
    assert [p.key for p in problems] == ["line 6"]
    assert problems[0].hint


@pytest.mark.parametrize("cell", ["", "-", "—", "\N{EN DASH}", "?", "n/a"])
def test_a_cell_with_nothing_expects_nothing(cell: str, tmp_path: Path) -> None:
    assert first_table(f"| users | {cell} |", tmp_path) == Expectation("users")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("≥ 5", Expectation("users", min_rows=5)),
        (">= 1,000", Expectation("users", min_rows=1000)),
        ("at most 7", Expectation("users", max_rows=7)),
        ("120 000 ± 5", Expectation("users", rows=120_000, tolerance_rows=5)),
        ("120 000 ± 0.5 %", Expectation("users", rows=120_000, tolerance_pct=0.5)),
    ],
)
def test_bounds_and_tolerances_may_stand_with_the_number(cell: str, expected: Expectation, tmp_path: Path) -> None:
    assert first_table(f"| users | {cell} |", tmp_path) == expected


def test_columns_come_in_any_order_and_unknown_ones_do_no_harm(tmp_path: Path) -> None:
    read = first_table("| 5 | who | 9 | `audit\\_logs` |", tmp_path, "| Min | Remark | **Max** | Table name |")
    assert read == Expectation("audit_logs", min_rows=5, max_rows=9)


def test_underscores_escaped_for_markdown_are_underscores(tmp_path: Path) -> None:
    assert first_table("| audit\\_logs | 5 |", tmp_path).name == "audit_logs"


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        ("| users | 5 | 6 |", 5, "has 3 cells, but the table has 2 columns."),
        ("| users |", 5, "has 1 cells, but the table has 2 columns."),
        ("| | 5 |", 5, "names no table."),
        ("| users | 5 |\n| users | 6 |", 6, "is there twice: table[1] has it too."),
        ("| us\x1b[2Jers | 5 |", 5, "holds the control character U+001B."),
        ("| users | 5 ± x |", 5, "'x' is not a tolerance."),
    ],
)
def test_a_row_in_doubt_is_refused_with_its_line(rows: str, line: int, words: str, tmp_path: Path) -> None:
    (problem,) = refused(REPORT + rows + "\n", tmp_path, "report.md")
    assert (problem.key, problem.message) == (f"line {line}", words)


def test_two_columns_for_one_thing_are_refused(tmp_path: Path) -> None:
    text = "Incident: INC-1\n\n| table | rows | expected |\n|---|---|---|\n| users | 5 | 6 |\n"
    problems = refused(text, tmp_path, "report.md")
    assert ("line 3", "has two columns for rows.") in [(p.key, p.message) for p in problems]


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    (problem,) = refused(REPORT, tmp_path, "report.md")
    assert (problem.key, problem.message) == ("line 3", "has no rows beneath it.")


def test_a_tolerance_said_twice_is_refused(tmp_path: Path) -> None:
    text = "Incident: INC-1\n\n| table | rows | tolerance |\n|---|---|---|\n| users | 5 ± 1 | 2 |\n"
    (problem,) = refused(text, tmp_path, "report.md")
    assert problem.key == "line 5"


def test_a_label_with_two_answers_is_refused_with_both_lines(tmp_path: Path) -> None:
    (problem,) = refused(f"Incident: INC-2\n{REPORT}| users | 5 |\n", tmp_path, "report.md")
    assert problem.key == "line 2"
    assert "in line 1" in problem.message


def test_a_time_without_its_zone_is_refused_with_its_line(tmp_path: Path) -> None:
    (problem,) = refused(f"Started: 2026-11-22 19:40\n{REPORT}| users | 5 |\n", tmp_path, "report.md")
    assert (problem.key, problem.message) == ("line 1", "is a time without a zone.")


def test_code_comments_and_other_tables_are_passed_over(tmp_path: Path) -> None:
    read = markdown(
        "```\nIncident: INC-7\n| table | rows |\n|---|---|\n| a | 1 |\n```\n"
        "<!-- Incident: INC-8\n-->\n| when | what |\n|---|---|\n| 19:40 | rows |\n\n"
        f"{REPORT}| users | 5 |\nThe table | above | is all.\n".replace("The table", "\nThe table"),
        tmp_path,
    )
    assert read.about.id == "INC-1"
    assert read.tables == (Expectation("users", rows=5),)


def test_a_report_without_number_or_table_says_what_to_write(tmp_path: Path) -> None:
    problems = refused("All is lost.\n", tmp_path, "report.md")
    assert [p.message for p in problems] == [
        "names no incident.",
        "has no table that gives rows for database tables.",
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 900_000,
        "|" * 900_000,
        "<!--" * 200_000,
        " " * 900_000 + "|",
        "`" * 900_000,
        ("[" * 9000 + "|\n") * 90,
        "| a | b |\n" * 90_000,
        "| table | rows |\n|---|---|\n" + "| a | 1 |\n" * 90_000,
    ],
    ids=lambda text: text[:12].strip(),
)
def test_a_hostile_report_takes_no_longer_than_a_moment(hostile: str, tmp_path: Path) -> None:
    started = monotonic()
    assert refused(f"{REPORT}{hostile}\n| x |", tmp_path, "report.md")
    assert monotonic() - started < 10  # seconds; quadratic work would take minutes


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(alphabet="|-:ab1 ,.±%`*_\\\n[]()<!>#~\x1b", max_size=200))
def test_no_markdown_whatsoever_makes_the_reader_fail(text: str) -> None:
    problems: list[Problem] = []
    table, lines = incident_markdown.table_of(Written("r.md", REPORT + text, ""), problems)
    read = tables.read(Incident, table, "r.md", problems)
    assert (read is None) <= bool(problems)
    assert all(line >= 1 for line in lines.values())


# --- the example


def with_comments_taken_off(text: str) -> str:
    return re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", text)


def test_the_example_loads_as_it_is() -> None:
    read = incident.load(DOCS / "incident.example.toml", privileged=False)
    assert read.must_contain[0].expected == "paid"
    assert read.exposure.credentials[0].owner == "ana"


@pytest.mark.parametrize("cls", KINDS)
def test_the_example_has_every_key(cls: type[Any]) -> None:
    text = (DOCS / "incident.example.toml").read_text()
    for field in fields(cls):
        key = tables.key_of(field)
        assert re.search(rf"(?m)^(# )?{key} = |^\[+(exposure\.)?{key}\]", text), key


def test_the_keys_in_the_examples_comments_are_of_the_right_kind(tmp_path: Path) -> None:
    """Some exclude each other (rows and min_rows), so those problems alone may appear."""
    text = with_comments_taken_off((DOCS / "incident.example.toml").read_text())
    keys = {p.key for p in refused(text, tmp_path)}
    assert keys == {"table[2].rows", "smoke[1].command", "metric[1].query", "metric[1].window"}
