"""10,000 backups in one folder: until they are on the screen, and how a filter's letters are answered meanwhile.

Against a bare Textual app that puts the names, times and sizes of the same files into a DataTable, and fills it anew
with each letter. Ours reads the listing of checksums besides, and verifies in the background while keys are pressed.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from engines.text import count
from tests.bench import bare
from tests.bench.console_ready import configuration
from tests.bench.measure import Ratio
from tests.bench.pseudo_terminal import PseudoTerminal, python

AIM = 1.0
AIM_OF_KEYS = 1.0
ROUNDS = 5
BACKUPS = 10_000
_BYTES_EACH = 4096
_LETTERS = "1t21"  # each narrows what is shown


def run(backups: int = BACKUPS, rounds: int = ROUNDS) -> tuple[Ratio, Ratio]:
    """Time to the whole list, and from a filter's key to its answer (95th percentile)."""
    with tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name:
        config = configuration(Path(name))
        folder = Path(name) / "backups"
        names = _fill(folder, backups)
        kept = [sum(_LETTERS[:end] in one for one in names) for end in range(1, len(_LETTERS) + 1)]
        ready: dict[str, list[float]] = {"reinstate": [], "bare DataTable": []}
        keys: dict[str, list[float]] = {"reinstate": [], "bare DataTable": []}
        listing: list[float] = []
        for number in range(rounds + 1):  # the first brings everything into the page cache
            seen = _ours(config, backups, kept), _theirs(folder, backups, kept)
            began = perf_counter()
            subprocess.run(f"ls -l {folder} | sort -r", shell=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S602
            if number:
                listing.append(perf_counter() - began)
                for who, (first, answers) in zip(ready, seen, strict=True):
                    ready[who].append(first)
                    keys[who] += answers
    medians = {who: median(seconds) for who, seconds in ready.items()}
    on = f"{count(backups)} backups, from the command to the list; ls -l | sort: {median(listing):.3f} s"
    usual = {who: median(seconds) for who, seconds in keys.items()}
    ours, theirs = (p95(seconds) for seconds in keys.values())
    letters = f"95th percentile {ours:.3f} s and {theirs:.3f} s, slowest of ours {max(keys['reinstate']):.3f} s"
    return (
        Ratio("catalogue-10k", _ratio(medians), AIM, medians, rounds, on),
        Ratio("catalogue-10k-filter", ours / theirs, AIM_OF_KEYS, usual, len(keys["reinstate"]), letters),
    )


def _ratio(seconds: Mapping[str, float]) -> float:
    ours, theirs = seconds.values()
    return ours / theirs


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(seconds, n=20, method="inclusive")[-1]


def _ours(config: Path, backups: int, kept: Sequence[int]) -> tuple[float, list[float]]:
    command = python("-m", "tui.cli", "--config", str(config), "restore", "shop")
    with PseudoTerminal(command) as terminal:
        ready = terminal.sees(f"of {count(backups)} VERIFIED")
        terminal.press("/", "Enter keeps the filter")
        terminal.stands_still()
        return ready, [terminal.press(key, f"filter: {count(n)}") for key, n in zip(_LETTERS, kept, strict=True)]


def _theirs(folder: Path, backups: int, kept: Sequence[int]) -> tuple[float, list[float]]:
    with PseudoTerminal(python("-m", "tests.bench.bare", str(folder))) as terminal:
        ready = terminal.sees(f"{bare.HOLDS}{backups}.")
        return ready, [terminal.press(key, f"{bare.HOLDS}{n}.") for key, n in zip(_LETTERS, kept, strict=True)]


def _fill(folder: Path, backups: int) -> list[str]:
    """One backup an hour, and their listing. The names, as they are filtered."""
    newest = datetime(2026, 11, 22, 20, tzinfo=UTC)
    lines, names = [], []
    for number in range(backups):
        name = f"{newest - timedelta(hours=number):%Y-%m-%dT%H-%M-%SZ}.sqlite"
        content = number.to_bytes(8) * (_BYTES_EACH // 8)
        (folder / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        names.append(name.casefold())
    (folder / "checksums.txt").write_text("".join(lines))
    return names
