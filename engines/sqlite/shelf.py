"""What a safety snapshot of an SQLite database has beside what every snapshot has (`engines.shelf`)."""

from __future__ import annotations

from dataclasses import dataclass

from engines import shelf
from engines.shelf import Listing, RawCopy, RawFile, describe, due, open_folder, prune, refuse_taken
from engines.sqlite.proof import Proof

__all__ = [
    "Listing",
    "RawCopy",
    "RawFile",
    "Snapshot",
    "describe",
    "due",
    "listed",
    "open_folder",
    "prune",
    "refuse_taken",
]


@dataclass(frozen=True, slots=True)
class Snapshot(shelf.Snapshot):
    """A safety snapshot. `proof` is there when it was just taken."""

    journal_mode: str  # of the database it was taken of
    proof: Proof | None = None


def listed(folder: str) -> Listing[Snapshot]:
    """The snapshots of SQLite databases in `folder`."""
    return shelf.listed(folder, Snapshot)
