"""Files that people write: hostile ones get one clear problem, and a privileged run trusts few."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.errors import Problem
from engines.trusted_file import LIMIT, read_text, safe_path, toml_table, trusted_users

ME = frozenset({0, os.getuid()})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that nobody else can write, whatever the umask."""
    tmp_path.chmod(0o755)
    return tmp_path


def problems_of(content: bytes, folder: Path) -> list[Problem]:
    path = folder / "given.toml"
    path.write_bytes(content)
    problems: list[Problem] = []
    written = read_text(path, problems, privileged=False)
    if written:
        toml_table(written, problems)
    return problems


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty."),
        (b" \n\n", "is empty."),
        (b"a = 1\nb = '\xff'\n", "is not UTF-8 (line 2)."),
        (b"a = 1\nb = [1,", "is not valid TOML: "),
        (b"[target.sh", "is not valid TOML: "),
        (b"a = 1\na = 2\n", "is not valid TOML: Cannot overwrite a value (at line 2, column 6)."),
        (b"[a]\n[a]\n", "is not valid TOML: Cannot declare ('a',) twice (at line 2, column 3)."),
        (b"a = 'x\x1b[2J'\n", "is not valid TOML: "),
        (b"a = " + b"[\n" * 100_000, "nests too deeply."),
        (b"a = " + b"9" * 5000, "has 5004 characters in line 1"),
        (b"a = 2026-13-45T00:00:00Z\n", "is not valid TOML: "),
        (b"# " + b"x" * 10_000_000, "is 10.0 MB; at most 1.0 MB is read."),
    ],
    ids=lambda value: value[:12].decode("ascii", "replace") if isinstance(value, bytes) else None,
)
def test_a_damaged_or_hostile_file_is_one_clear_problem(content: bytes, words: str, folder: Path) -> None:
    problems = problems_of(content, folder)
    assert len(problems) == 1
    assert problems[0].message.startswith(words)
    assert problems[0].hint
    assert "\x1b" not in str(problems[0])


def test_a_file_of_the_largest_size_is_read(folder: Path) -> None:
    assert problems_of(b"a = 1\n".ljust(LIMIT, b"\n"), folder) == []


@pytest.mark.parametrize("line", [b"a." * 500_000 + b"b = 1", b"[" + b"a." * 500_000 + b"b]"])
def test_a_key_that_would_keep_the_parser_busy_for_minutes_is_refused_at_once(line: bytes, folder: Path) -> None:
    (problem,) = problems_of(b"x = 1\n" + line, folder)
    assert "characters in line 2" in problem.message


def test_a_mark_of_a_windows_editor_and_its_line_ends_do_no_harm(folder: Path) -> None:
    assert problems_of(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n", folder) == []


def test_what_is_no_file_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    for name in ("", "fifo", "loop", "missing", "missing/inside", "nul\0", "x" * 300):
        problems: list[Problem] = []
        assert read_text(folder / name, problems, privileged=False) is None
        assert len(problems) == 1, name
        assert problems[0].hint


def test_a_file_that_nobody_else_can_change_is_trusted(folder: Path) -> None:
    path = folder / "given.toml"
    path.touch(0o644)
    assert safe_path(path, ME) == ()
    assert safe_path(folder / "not" / "there yet", ME) == ()


def test_a_file_or_folder_that_others_can_write_is_named(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    path = inner / "given.toml"
    path.touch()
    path.chmod(0o664)
    inner.chmod(0o777)
    found = safe_path(path, ME)
    assert [p.hint for p in found] == [f"chmod go-w {inner}", f"chmod go-w {path}"]


def test_a_sticky_folder_of_roots_may_be_on_the_way(folder: Path) -> None:
    if os.getuid() != 0:
        assert not any(str(p.hint).endswith(" /tmp") for p in safe_path(Path("/tmp/x"), ME))  # noqa: S108 - looked at only
        return
    sticky = folder / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    path = sticky / "given.toml"
    path.touch(0o644)
    assert safe_path(path, ME) == ()
    path.chmod(0o666)
    assert len(safe_path(path, ME)) == 1


def test_a_file_of_another_user_is_not_trusted(folder: Path) -> None:
    path = folder / "given.toml"
    path.touch(0o644)
    nobody_of_these = frozenset({0} if os.getuid() else {12345})
    found = safe_path(path, nobody_of_these)
    assert any(f"belongs to user {os.getuid()}" in p.message for p in found)


def test_a_link_is_followed_to_what_it_names(folder: Path) -> None:
    open_folder = folder / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    (open_folder / "real.toml").touch(0o644)
    link = folder / "link.toml"
    link.symlink_to("open/../open/real.toml")
    assert [p.hint for p in safe_path(link, ME)] == [f"chmod go-w {open_folder}"]


def test_a_loop_of_links_ends(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    assert [p.message for p in safe_path(folder / "a", ME)] == ["is a loop of symbolic links."]


def test_the_user_behind_sudo_is_trusted_and_nonsense_is_not() -> None:
    assert trusted_users({"SUDO_UID": "1000"}) == {0, 1000}
    assert trusted_users({"SUDO_UID": "-1"}) == {0}
    assert trusted_users({"SUDO_UID": "²"}) == {0}
    assert trusted_users({}) == {0}


def test_a_privileged_run_does_not_even_open_what_others_can_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))  # the tests need not run as root
    path = folder / "given.toml"
    path.write_bytes(b"\xff not even UTF-8")
    path.chmod(0o666)
    problems: list[Problem] = []
    assert read_text(path, problems, privileged=True) is None
    assert "can be written by everybody" in problems[-1].message
