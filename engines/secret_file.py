"""Opens a file that holds a secret: only one that nobody else can read. No message holds what is in it."""

from __future__ import annotations

import os
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.text import drawable

_LARGEST = 64 << 10  # bytes


def own_text(path: Path, what: str, key: str, form: str) -> str:
    """The whole file as text. `what` it is (`The login file`), the `key` that names it, and its `form` in words.

    Raises RestoreError where it can't be read, Refused where others can read it or it is something else.
    """
    name = drawable(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RestoreError(
            f"{what} {name} can't be opened: {error.strerror}.",
            f"It is {form}, mode 0600: `{key}` in the configuration names it.",
        ) from error
    try:
        facts = os.fstat(descriptor)
        if facts.st_mode & 0o077 or facts.st_uid not in (os.geteuid(), 0):
            raise Refused(
                f"{what} {name} can be read by others, or belongs to another user. It was not read.",
                f"chmod 600 {name}, and let it belong to whoever runs Reinstate.",
            )
        content = os.read(descriptor, _LARGEST + 1)  # a file gives all of it at once
    except OSError as error:  # a folder opens, and does not read
        raise RestoreError(f"{what} {name} can't be read: {error.strerror}.", f"It is {form}.") from error
    finally:
        os.close(descriptor)
    if len(content) > _LARGEST:
        raise Refused(f"{name} is too large: it is not {form}.", f"Name the right file as `{key}`.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused(
            f"{name} is not text in UTF-8, so it is not {form}.", f"Name the right file as `{key}`."
        ) from None
