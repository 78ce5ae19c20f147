"""What a swap is, and how far it has got, told from the disk alone.

Every step of a swap gives a file a name or takes one away, so device and inode at four paths say it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engines.errors import Refused
from engines.sqlite import files
from engines.sqlite.file_facts import FileIdentity
from engines.sqlite.inspect import Kind, Live
from engines.sqlite.stage import Staged
from engines.text import drawable

_MODE_WITHOUT_OLD = 0o640


class Position(StrEnum):
    """Which database is live, and what is left of the other one."""

    OLD = "old"  # nothing is replaced
    LINKED = "linked"  # the old one is live and has its second name, `kept`
    NEW = "new"  # the new one is live; the old one is at `kept`
    SETTLED = "settled"  # the new one is live and the old one is gone: signed off
    UNDOING = "undoing"  # the new one is live and has its second name, `undone`
    BACK = "back"  # undone: the old one is live, the new one is at `undone`
    FOREIGN = "foreign"  # something else is at the path, or nothing where something should be


@dataclass(frozen=True, slots=True)
class Swap:
    """One replacement of a live database, complete enough to go on or go back after a crash."""

    token: str
    live: str  # real path
    staged: str
    kept: str  # where the old file stays until sign-off
    undone: str  # where the new file goes on an undo
    before: FileIdentity | None  # None: nothing was there
    before_kind: Kind
    before_journal_mode: str | None
    copy: Staged
    uid: int
    gid: int
    mode: int  # permission bits
    journal_mode: str  # wanted of the new file: wal or delete

    @property
    def lockable(self) -> bool:
        """Whether the old file can be opened and locked; a garbage, empty or missing one is moved aside unopened."""
        return self.before_kind == "database"

    @property
    def old(self) -> tuple[int, int] | None:
        return None if self.before is None else (self.before.device, self.before.inode)

    @property
    def new(self) -> tuple[int, int]:
        return self.copy.device, self.copy.inode


def prepare(
    live: Live,
    staged: Staged,
    token: str,
    *,
    uid: int | None = None,
    gid: int | None = None,
    mode: int | None = None,
    journal_mode: str | None = None,
) -> Swap:
    """The swap of `live` for `staged`. What is not configured stays as the old file had it.

    Where there is no old file, the folder's owner becomes the new file's, with mode 0640. Raises Refused.
    """
    old = live.identity
    folder = Path(live.path).parent.stat()
    if old is not None and (old.links > 1 or not Path(live.path).is_file()):
        what = f"has {old.links} hard links" if old.links > 1 else "is not a regular file"
        raise Refused(
            f"{drawable(live.path)} {what}. Nothing was changed.",
            "Remove the other names, so that nobody keeps using the old data." if old.links > 1 else "Move it away.",
        )
    if staged.device != folder.st_dev or (old is not None and old.device != staged.device):
        raise Refused(
            f"The staged copy and {drawable(live.path)} are on different file systems, so one can't replace the other "
            "in one instant. Nothing was changed.",
            "The database file itself seems to be a mount. Mount its folder instead.",
        )
    wanted = journal_mode or live.journal_mode or "delete"
    if wanted not in ("wal", "delete"):
        wanted = "delete"  # truncate, persist and memory are the connection's own choice; the file says only this
    return Swap(
        token,
        live.path,
        staged.path,
        files.beside(live.path, token, "kept"),
        files.beside(live.path, token, "undone"),
        old,
        live.kind,
        live.journal_mode,
        staged,
        uid if uid is not None else (folder.st_uid if old is None else old.uid),
        gid if gid is not None else (folder.st_gid if old is None else old.gid),
        mode if mode is not None else (_MODE_WITHOUT_OLD if old is None else old.mode),
        wanted,
    )


def where(swap: Swap) -> Position:
    """How far the swap has got. Reads names only; opens nothing.

    An inode number is used again once its file is gone, but neither file goes before sign-off.
    """
    live, kept, undone = files.key(swap.live), files.key(swap.kept), files.key(swap.undone)
    if live == swap.new:
        if undone == swap.new:
            return Position.UNDOING
        # Nothing was there before: there is nothing to keep, and the undo is to move the new one away.
        return Position.NEW if swap.old is None or kept == swap.old else Position.SETTLED
    if live == swap.old:
        if undone == swap.new:
            return Position.BACK
        return Position.LINKED if live is not None and kept == swap.old else Position.OLD
    return Position.FOREIGN


def watched(swap: Swap) -> tuple[str | tuple[int, int], ...]:
    """What nobody may have open while files change places: the live path, its sidecars, and both files by inode."""
    ids = (swap.new,) if swap.old is None else (swap.old, swap.new)
    return (swap.live, *files.sidecars(swap.live), *ids)


def foreign(swap: Swap) -> Refused:
    """What is raised where the path holds neither the old nor the new file."""
    at = files.key(swap.live)
    what = "Nothing is" if at is None else f"A file that is neither the old nor the new database (inode {at[1]}) is"
    kept = [drawable(path) for path in files.present((swap.kept, swap.staged, swap.undone))]
    return Refused(
        f"{what} at {drawable(swap.live)}: somebody else replaced or removed it. Nothing was changed.",
        f"Still there: {', '.join(kept) or 'none of our copies'}. Find out who did it; move the right file back.",
    )
