"""The security checklist: one line, once, as it was shown, and nothing at all in a file that is odd."""

from __future__ import annotations

import os
import stat
from datetime import date
from pathlib import Path

import pytest

from engines.checklist import Line, proposed, write
from engines.errors import Refused
from tests.engines.session.toy_session import someone_else

LINE = Line(date(2026, 11, 22), "restore of shop (production), INC-2041", "ana", "2026-11-22T20-04-11Z-production-7f3a")
TABLE = """# Security checklist

## Restore drills and incidents

| Date | What | Who | Record |
|------|------|-----|--------|
| 2026-05-01 | drill | bob | - |
| 2026-08-01 | drill | bob | - |

- [ ] Rotate keys
"""


def entered(folder: Path, text: str) -> str:
    """The file's text once the line was entered, which a second time changes nothing."""
    path = folder / "security-checklist.md"
    path.write_bytes(text.encode())
    edit = proposed(path, LINE)
    assert path.read_bytes() == text.encode(), "showing it writes nothing"
    write(path, LINE, edit.old_sha256, edit.new_sha256)
    again = proposed(path, LINE)
    assert again.old == again.new
    assert again.line == edit.line, "what stands there is quoted as it was written"
    assert edit.line in edit.new.decode().splitlines()
    assert edit.line not in text.splitlines()
    assert again.diff() == ()
    write(path, LINE, again.old_sha256, again.new_sha256)
    assert path.read_bytes() == edit.new
    assert [one.name for one in folder.iterdir()] == [path.name], "nothing is left beside it"
    return path.read_bytes().decode()


def added(before: str, after: str) -> list[str]:
    old, new = before.splitlines(), after.splitlines()
    assert [one for one in new if one in old] == old, "what was there stays, in its order"
    return [one for one in new if one not in old]


def test_a_row_more_in_the_table_by_its_heads(tmp_path: Path) -> None:
    after = entered(tmp_path, TABLE)
    row = f"| 2026-11-22 | {LINE.what} | ana | {LINE.session} |"
    assert added(TABLE, after) == [row]
    assert after.splitlines().index(row) == after.splitlines().index("| 2026-08-01 | drill | bob | - |") + 1


def test_a_table_with_the_newest_first_gets_it_first(tmp_path: Path) -> None:
    newest_first = TABLE.replace("2026-05-01", "2026-09-09")
    after = entered(tmp_path, newest_first).splitlines()
    assert after[after.index("|------|------|-----|--------|") + 1].startswith("| 2026-11-22 |")


def test_a_session_without_a_column_of_its_own_is_named_beside_what_was_done(tmp_path: Path) -> None:
    text = "| Date | Event |\n|---|---|\n"
    assert added(text, entered(tmp_path, text)) == [f"| 2026-11-22 | {LINE.what}, session {LINE.session} |"]


def test_an_item_more_in_a_list_of_dated_restores_with_its_line_ends(tmp_path: Path) -> None:
    text = (
        "# Log\r\n\r\n- [x] 2026-05-01: restore drill by bob\r\n- [x] 2026-08-01: restore drill by bob\r\n\r\nEnd\r\n"
    )
    after = entered(tmp_path, text)
    assert added(text, after) == [f"- [x] {LINE.told()}"]
    assert after.count("\r\n") == after.count("\n")


@pytest.mark.parametrize("before", ["2026-05-01", "never", "—"])
def test_the_date_of_the_last_restore_where_that_is_all_there_is(before: str, tmp_path: Path) -> None:
    text = f"- [ ] Keys rotated\n- [x] Last restore drill or incident: {before}\n"
    after = entered_last(tmp_path, text)
    assert after == text.replace(before, "2026-11-22")


@pytest.mark.parametrize("there", ["2026-11-22", "2027-01-05"])
def test_where_a_date_that_is_not_older_stands_nothing_is_written_and_no_line_is_quoted(
    there: str, tmp_path: Path
) -> None:
    path = tmp_path / "security-checklist.md"
    path.write_text(f"- [x] Last restore drill: {there}\n")
    edit = write(path, LINE, *(2 * (proposed(path, LINE).old_sha256,)))
    assert (edit.line, edit.diff()) == ("", ())
    assert path.read_text() == f"- [x] Last restore drill: {there}\n"


def entered_last(folder: Path, text: str) -> str:
    path = folder / "security-checklist.md"
    path.write_text(text)
    edit = proposed(path, LINE)
    write(path, LINE, edit.old_sha256, edit.new_sha256)
    assert proposed(path, LINE).diff() == ()
    assert edit.line == path.read_text().splitlines()[1], "quoted as it is written, not as a line that was not"
    return path.read_text()


ODD = {
    "an empty file": "",
    "words alone": "# Security\n\nRotate the keys.\n",
    "a list without dates": "- [ ] Rotate keys\n- [ ] Last review: 2026-01-01\n",
    "two tables that could be meant": "## A\n\n| Date | X |\n|---|---|\n\n## B\n\n| Date | Y |\n|---|---|\n",
    "a table of dates alone": "| Date |\n|---|\n",
    "two last dates": "- Last restore: 2026-01-01\n- Last drill: 2026-01-01\n",
    "lines that end in different ways": TABLE.replace("\n", "\r\n", 2),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_file_that_is_odd_is_refused_and_stays(text: str, tmp_path: Path) -> None:
    path = tmp_path / "security-checklist.md"
    path.write_bytes(text.encode())
    with pytest.raises(Refused, match="It was not touched") as refused:
        proposed(path, LINE)
    assert "by hand" in refused.value.hint
    assert path.read_bytes() == text.encode()


def test_bytes_that_are_no_text_a_missing_file_a_link_and_a_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "security-checklist.md"
    with pytest.raises(Refused, match="can't be opened"):
        proposed(path, LINE)
    path.write_bytes(b"\xff\xfe|")
    with pytest.raises(Refused, match="not text in UTF-8"):
        proposed(path, LINE)
    path.write_text(TABLE)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(Refused, match="can't be opened"):
        proposed(tmp_path / "link", LINE)
    (tmp_path / "second").hardlink_to(path)
    with pytest.raises(Refused, match="several names"):
        proposed(path, LINE)
    with pytest.raises(Refused):
        proposed(tmp_path, LINE)


def test_one_that_was_changed_since_it_was_shown_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "security-checklist.md"
    path.write_text(TABLE)
    edit = proposed(path, LINE)
    path.write_text(TABLE + "more\n")
    with pytest.raises(Refused, match="changed since it was shown"):
        write(path, LINE, edit.old_sha256, edit.new_sha256)
    assert path.read_text() == TABLE + "more\n"


def test_a_read_only_file_is_refused_and_stays_also_for_root(tmp_path: Path) -> None:
    path = tmp_path / "security-checklist.md"
    path.write_text(TABLE)
    path.chmod(0o444)
    edit = proposed(path, LINE)
    with pytest.raises(Refused, match="read-only"):
        write(path, LINE, edit.old_sha256, edit.new_sha256)
    assert path.read_text() == TABLE
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test gives up root's rights")
    path = tmp_path / "security-checklist.md"
    path.write_text(TABLE)
    path.chmod(0o666)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    edit = proposed(path, LINE)
    with someone_else(), pytest.raises(Refused, match="can't be written"):
        write(path, LINE, edit.old_sha256, edit.new_sha256)
    assert path.read_text() == TABLE


def test_owner_and_mode_stay(tmp_path: Path) -> None:
    path = tmp_path / "security-checklist.md"
    path.write_text(TABLE)
    path.chmod(0o664)
    if os.geteuid() == 0:
        os.chown(path, 33, 33)
    before = path.stat()
    edit = proposed(path, LINE)
    write(path, LINE, edit.old_sha256, edit.new_sha256)
    after = path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, 0o664)


def test_the_change_is_shown_with_what_is_around_it(tmp_path: Path) -> None:
    path = tmp_path / "security-checklist.md"
    path.write_text(TABLE)
    shown = proposed(path, LINE).diff()
    assert [one for one in shown if one.startswith("+") and not one.startswith("+++")] == [
        f"+| 2026-11-22 | {LINE.what} | ana | {LINE.session} |"
    ]
    assert not [one for one in shown if one.startswith("-") and not one.startswith("---")]
