"""Listings as the real tools write them, and as accidents and enemies do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from engines.backups.checksums import (
    LONGEST_LINE,
    MOST_LINES,
    MOST_PROBLEMS,
    Digest,
    Listing,
    parse,
    parse_sidecar,
    shown,
)

ONE = "1" * 64
TWO = "2" * 64

# The tools take "-" for standard input, even after "--".
file_names = st.binary(min_size=1, max_size=60).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..", b"-")
)


def of(text: str | bytes) -> Listing:
    return parse(text, "checksums.txt")


def hashes(listing: Listing) -> dict[str, str]:
    return {name: digest.hex for name, digest in listing.entries.items()}


@pytest.mark.parametrize(
    ("tool", "algorithm"),
    [
        (("sha256sum", "--"), "sha256"),
        (("sha256sum", "--binary", "--"), "sha256"),
        (("sha256sum", "--tag", "--"), "sha256"),
        (("sha512sum", "--"), "sha512"),
        (("sha1sum", "--tag", "--"), "sha1"),
        (("md5sum", "--"), "md5"),
        (("md5sum", "--tag", "--"), "md5"),
        (("shasum", "-a", "256", "--"), "sha256"),
        (("shasum", "-a", "256", "--binary", "--"), "sha256"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_the_real_tool_writes_is_read_back_whatever_the_files_are_called(
    tool: tuple[str, ...], algorithm: str
) -> None:
    @settings(max_examples=8, deadline=None)
    @given(st.sets(file_names, min_size=1, max_size=8))
    @example({b"plain.sqlite", b"new\nline", b"back\\slash", b"\\n", b"two  blanks", b" *star", b"\xff\xfe.sqlite"})
    @example({b"a) = b.sqlite", b"# no comment", b"SHA256 (x) = y", "\u2028\x85\x0b.sqlite".encode(), b"-rf"})
    def round_trip(names: set[bytes]) -> None:
        # shasum does not escape a carriage return, so at the end of a line it can't be told from CRLF. Such a
        # name has a control character and is never opened; coreutils escapes it.
        assume(tool[0] != "shasum" or not any(name.endswith(b"\r") for name in names))
        with tempfile.TemporaryDirectory() as folder:
            place = os.fsencode(folder)
            for name in names:
                Path(os.fsdecode(place + b"/" + name)).write_bytes(b"content of " + name)
            written = subprocess.run([*tool, *names], cwd=folder, check=True, capture_output=True).stdout
        listing = of(written)
        assert listing.problems == ()
        assert listing.entries == {
            os.fsdecode(name): Digest(algorithm, hashlib.new(algorithm, b"content of " + name).hexdigest())
            for name in names
        }

    round_trip()


def test_openssl_output_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"a")
    for option in ("-sha256", "-md5", "-sha512"):
        written = subprocess.run(
            ["openssl", "dgst", option, "a.sqlite"], cwd=tmp_path, check=True, capture_output=True
        ).stdout
        algorithm = option.removeprefix("-")
        assert of(written).entries == {"a.sqlite": Digest(algorithm, hashlib.new(algorithm, b"a").hexdigest())}


@given(st.binary(max_size=2000))
@example(b"\\" + ONE.encode() + b"  \\")
@example(ONE.encode() + b"  ")
@example(ONE.encode() + b"  ./")
@example(b"\xff\xfe" + "x".encode("utf-16-le"))
def test_no_content_whatsoever_raises_or_names_a_file_outside_of_the_folder(content: bytes) -> None:
    listing = of(content)
    for name in listing.entries:
        assert name
        assert not name.startswith("/")
        assert ".." not in name.split("/")
    for problem in listing.problems:
        assert problem == problem.encode("utf-8").decode()
        assert problem.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}  a.sqlite\n",
        f"{ONE} *a.sqlite\n",
        f"{ONE} a.sqlite\n",
        f"{ONE}\ta.sqlite\n",
        f"  {ONE}  a.sqlite\n",
        f"{ONE}  ./a.sqlite\n",
        f"{ONE}  .//a.sqlite\n",
        f"{ONE}  a.sqlite\r\n",
        f"\ufeff{ONE}  a.sqlite\n",
        f"{ONE}  a.sqlite",
        f"# made nightly\n\n{ONE}  a.sqlite\n\n",
        f"SHA256 (a.sqlite) = {ONE}\n",
        f"SHA256 (a.sqlite) = {ONE}\r\n",
        f"SHA2-256(a.sqlite)= {ONE}\n",
        f"sha256 (./a.sqlite) = {ONE}\n",
        f"{ONE}  a.sqlite\n{ONE}  ./a.sqlite\n",
    ],
    ids=repr,
)
def test_every_common_form_says_the_same(text: str) -> None:
    for content in (text, text.encode("utf-8")):
        listing = of(content)
        assert listing.entries == {"a.sqlite": Digest("sha256", ONE)}
        assert listing.problems == ()


def test_upper_case_digits_are_the_same_hash() -> None:
    assert of("ABCDEF0123456789" * 4 + "  a") == of("abcdef0123456789" * 4 + "  a")


def test_the_line_is_remembered_as_evidence() -> None:
    assert of(f"# one\n\n{ONE}  a\n").entries["a"].where == "checksums.txt line 3"


def test_the_strongest_of_several_algorithms_counts() -> None:
    listing = of(f"{'a' * 32}  x\n{ONE}  x\n{'b' * 40}  x\n")
    assert listing.entries == {"x": Digest("sha256", ONE)}
    assert listing.problems == ()


def test_two_different_hashes_for_one_file_leave_it_without_any() -> None:
    listing = of(f"{ONE}  x\n{TWO}  other\n{TWO}  ./x\n{ONE}  x\n")
    assert hashes(listing) == {"other": TWO}
    assert listing.rejected == {"x": "checksums.txt contradicts itself: lines 1 and 3 give different sha256 hashes"}
    assert listing.problems == ("checksums.txt line 3: 'x': lines 1 and 3 give different sha256 hashes",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{ONE}  ../x", "leads out of the folder"),
        (f"{ONE}  a/../../x", "leads out of the folder"),
        (f"{ONE}  ..", "leads out of the folder"),
        (f"{ONE}  /etc/passwd", "is an absolute path"),
        (f"{ONE}  ./", "names no file"),
        (f"{ONE}  .", "names no file"),
        (f"SHA256 (/etc/passwd) = {ONE}", "is an absolute path"),
        (f"SHA256 () = {ONE}", "names no file"),
        (f"\\{ONE}  ..\\n/x\\q", "has an escape in its name"),
        (f"\\{ONE}  x\\", "has an escape in its name"),
        (f"{ONE}", "is neither `hash  name` nor"),
        (f"{ONE}  ", "is neither `hash  name` nor"),
        (f"{ONE[:-1]}  x", "has a hash of 63 digits"),
        (f"{'a' * 56}  x", "has a hash of 56 digits"),
        (f"MD5 (x) = {ONE}", "has a hash of 64 digits that is none of"),
        (f"BLAKE2b (x) = {ONE}{ONE}", "has a hash of 128 digits that is none of"),
        (f"{ONE}  x\0y", "holds NUL bytes"),
        (f"{ONE}  {'x' * LONGEST_LINE}", "characters long; no file name is"),
        ("<html>404</html>", "is neither `hash  name` nor"),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_a_line_that_cannot_be_used_is_named_and_the_others_count(line: str, reason: str) -> None:
    listing = of(f"{TWO}  good\n{line}\n")
    assert hashes(listing) == {"good": TWO}
    (problem,) = listing.problems
    assert problem.startswith("checksums.txt line 2: ")
    assert reason in problem


def test_a_hostile_name_cannot_draw_on_the_terminal_through_a_problem() -> None:
    (problem,) = of(f"{ONE}  ../\x1b]52;c;aGk=\x07[bold]\u202e".encode() + b"\xff").problems
    assert problem.isprintable()
    assert "[bold]" in problem


def test_a_binary_file_gives_a_handful_of_problems_not_millions() -> None:
    listing = of(b"\x00garbage\n" * 10_000)
    assert len(listing.problems) == MOST_PROBLEMS + 1
    assert listing.problems[-1] == "checksums.txt: 9,950 more lines can't be used"


def test_a_listing_without_end_is_given_up() -> None:
    listing = of("\n" * (MOST_LINES - 1) + f"{ONE}  last\n{TWO}  too-far\n" * 2)
    assert hashes(listing) == {"last": ONE}
    assert listing.problems == (
        f"checksums.txt line {MOST_LINES + 1}: and all that follow are not read; this is no listing of backups",
    )


def test_a_listing_in_utf16_is_recognised() -> None:
    listing = of(f"{ONE}  a\r\n".encode("utf-16"))
    assert listing.problems == ("checksums.txt line 1: is UTF-16; write it as UTF-8",)


@pytest.mark.parametrize(
    "text", [ONE, f"{ONE}\r\n", f"{ONE}  a.sqlite", f"{ONE} */var/backups/a.sqlite", f"SHA256 (../a.sqlite) = {ONE}"]
)
def test_a_sidecar_counts_wherever_it_was_written(text: str) -> None:
    listing = parse_sidecar(text, "a.sqlite.sha256", "a.sqlite")
    assert listing.entries == {"a.sqlite": Digest("sha256", ONE)}
    assert listing.problems == ()
    assert listing.entries["a.sqlite"].where.startswith("a.sqlite.sha256")


def test_a_sidecar_about_another_file_proves_nothing() -> None:
    listing = parse_sidecar(f"{ONE}  b.sqlite\n", "a.sqlite.sha256", "a.sqlite")
    assert listing.entries == {}
    assert listing.problems == ("a.sqlite.sha256 line 1: is about 'b.sqlite', not about 'a.sqlite'",)


def test_a_sidecar_with_two_hashes_proves_nothing() -> None:
    listing = parse_sidecar(f"{ONE}\n{TWO}\n", "a.sqlite.sha256", "a.sqlite")
    assert listing.entries == {}
    assert "contradicts itself" in listing.rejected["a.sqlite"]


@given(file_names)
def test_any_name_can_be_shown(name: bytes) -> None:
    text = shown(os.fsdecode(name))
    assert text.encode("utf-8")
    assert not any(ord(character) < 32 for character in text)
