"""The signature over a finished record, `session.toml.sig`: made by the runner's key, checked by anybody.

It covers the record's exact bytes, the chain head among them. What it shows, and what it can't, is in docs/record.md.
"""

from __future__ import annotations

from pathlib import Path

from engines.session.journal import replace_file
from engines.session.sharing import file_mode
from engines.session.ssh_keys import is_over, sign
from engines.session.statement import RECORD

SEAL = "session.toml.sig"


def seal(folder: Path, key: Path) -> None:
    """Sign the record as it is now. Raises RestoreError, OSError; a signature that is right already stays."""
    record = (folder / "session.toml").read_bytes()
    path = folder / SEAL
    if path.exists() and is_over(record, path.read_text(errors="replace"), RECORD):
        return
    replace_file(path, sign(record, key, RECORD).encode(), file_mode(folder))


def try_key(key: Path) -> None:
    """Raises RestoreError where this key can't sign, or would have to ask for a passphrase."""
    sign(b"a test of the key, and nothing else\n", key, RECORD)
