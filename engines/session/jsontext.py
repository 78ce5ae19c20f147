"""JSON of whatever a step found or a console said: odd text and odd types are written as text, never refused.

File names on Linux need not be Unicode; Python carries their bytes as lone surrogates, which JSON in UTF-8 can't.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Order = Literal[None, "deterministic", "sorted"]


def encode(value: object, *, order: Order = None) -> bytes:
    """`value` as JSON in UTF-8. Lone surrogates are written as `\\udc80`; types that JSON lacks, as text."""
    try:
        return msgspec.json.encode(value, enc_hook=str, order=order)
    except UnicodeEncodeError:
        return msgspec.json.encode(_writable(msgspec.to_builtins(value, enc_hook=str)), order=order)


def _writable(value: object) -> object:
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case Mapping():
            return {_writable(key): _writable(item) for key, item in value.items()}
        case list() | tuple():
            return [_writable(item) for item in value]
        case _:
            return value
