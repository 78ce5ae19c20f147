"""The checksums of a folder of copies, against `sha256sum -c checksums.txt` (aim 0.35).

Ours is a fresh Python process each time, so that starting the interpreter is paid for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from engines.text import size
from tests.bench.measure import Ratio, in_turn

AIM = 0.35
ROUNDS = 5
COPIES = 12
BYTES_EACH = 64 << 20


def run(copies: int = COPIES, bytes_each: int = BYTES_EACH, rounds: int = ROUNDS) -> Ratio:
    """Raises CalledProcessError when either of the two does not find every copy intact."""
    with tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name:
        folder = Path(name)
        _fill(folder, copies, bytes_each)

        def ours() -> None:
            command = [sys.executable, "-m", "tests.bench.verify_folder", name]
            subprocess.run(command, check=True, cwd=Path(__file__).resolve().parents[2])

        def theirs() -> None:
            command = ["sha256sum", "--quiet", "-c", "checksums.txt"]
            subprocess.run(command, check=True, cwd=folder)

        medians = in_turn({"reinstate": ours, "sha256sum -c": theirs}, rounds)
    value = medians["reinstate"] / medians["sha256sum -c"]
    on = f"{copies} copies of {size(bytes_each)}, in the page cache"
    return Ratio("sqlite-checksum", value, AIM, medians, rounds, on)


def _fill(folder: Path, copies: int, bytes_each: int) -> None:
    content = os.urandom(min(bytes_each, 1 << 20))
    names = [f"2026-11-22T{hour:02}-00-00Z.sqlite" for hour in range(copies)]
    for number, name in enumerate(names):
        with (folder / name).open("wb") as file:
            file.write(number.to_bytes(8))
            while file.tell() < bytes_each:
                file.write(content[: bytes_each - file.tell()])
    listing = subprocess.run(["sha256sum", *names], cwd=folder, check=True, capture_output=True).stdout
    (folder / "checksums.txt").write_bytes(listing)
