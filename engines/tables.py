"""Reads tables into frozen dataclasses and reports everything that is wrong at once; writes them back.

A dataclass is the declaration: a field's name is the key, its type says what is taken, a field without a
default must be given, and the string beneath it says what it means. A field's metadata may say more:

- `key`: the key where it differs from the field's name (`[[table]]` fills the field `tables`);
- `internal`: not for people to write; the field has a default or is the name of its `[target.NAME]` table;
- `read`, `write`: functions between the value in the table and the one in the field;
- `check`: a function that raises WrongValue for a value of the right type that still can't be taken. For a
  list it is asked about each entry.

A dataclass may have a method `wrong`, which is asked for what no single field can know. Where a table may be one
of several dataclasses, each has a `TAG`: the key that tells, and its values.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from typing import runtime_checkable as runtime

from engines import values
from engines.errors import Problem
from engines.text import drawable


class Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Fault = tuple[str, str, str]  # key below the table, message, hint


@runtime
class SelfChecking(Protocol):
    def wrong(self) -> Iterator[Fault]: ...


class Tagged(Dataclass, Protocol):
    TAG: ClassVar[tuple[str, tuple[str, ...]]]  # the key that tells, and its values


T = TypeVar("T", bound=Dataclass)
K = TypeVar("K", bound=Tagged)

_FAILED = object()
_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True)
class _Reading:
    file: str
    problems: list[Problem]
    internal: bool  # also take the fields that people do not write

    def problem(self, key: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, drawable(key), message, hint))


def read(
    cls: type[T],
    table: Mapping[str, object],
    file: str,
    problems: list[Problem],
    key: str = "",
    *,
    internal: bool = False,
) -> T | None:
    """The dataclass that `table` describes. Adds every problem to `problems`, and is None if there is any.

    Keys in problems are dotted from `key`; the entries of arrays are counted from 1.
    """
    built = _dataclass(_Reading(file, problems, internal), cls, table, key)
    return None if built is _FAILED else cast(T, built)


def write(value: Dataclass) -> dict[str, object]:
    """The table that `read(..., internal=True)` turns back into an equal value: text, numbers, lists, tables."""
    table: dict[str, object] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if content is not None:
            table[key_of(field)] = field.metadata.get("write", _written)(content)
    return table


def key_of(field: Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


@cache
def hints_of(cls: type[Dataclass]) -> Mapping[str, Any]:
    """Each field's type. Resolving them costs more than reading a table does."""
    return get_type_hints(cls)


def _dataclass(reading: _Reading, cls: type[Dataclass], table: Mapping[str, object], key: str) -> object:
    before = len(reading.problems)
    declared = {key_of(f): f for f in fields(cls) if reading.internal or not f.metadata.get("internal")}
    for unknown in sorted(table.keys() - declared.keys()):
        near = difflib.get_close_matches(unknown, declared, n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"Known here: {', '.join(declared)}."
        reading.problem(_below(key, _name(unknown)), "unknown key.", hint)
    given: dict[str, object] = {}
    for name, field in declared.items():
        if name in table:
            given[field.name] = _field(reading, field, hints_of(cls)[field.name], table[name], _below(key, name))
        elif field.default is MISSING and field.default_factory is MISSING:
            reading.problem(_below(key, name), "is missing.", _example(field, hints_of(cls)[field.name]))
    if len(reading.problems) > before:
        return _FAILED
    built = cls(**given)
    if isinstance(built, SelfChecking):
        for below, message, hint in built.wrong():
            reading.problem(_below(key, below), message, hint)
    return _FAILED if len(reading.problems) > before else built


def _field(reading: _Reading, field: Field[Any], hint: object, value: object, key: str) -> object:
    convert: Callable[[object], object] | None = field.metadata.get("read")
    taken = _value(reading, hint, value, key) if convert is None else _converted(reading, convert, value, key)
    check: Callable[[object], object] | None = field.metadata.get("check")
    if check is None or taken is _FAILED:
        return taken
    several = isinstance(taken, tuple)
    for n, one in enumerate(taken if isinstance(taken, tuple) else (taken,), start=1):
        if one is not _FAILED:
            _converted(reading, check, one, f"{key}[{n}]" if several else key)
    return taken


def _converted(reading: _Reading, convert: Callable[[object], object], value: object, key: str) -> object:
    try:
        return convert(value)
    except values.WrongValue as wrong:
        reading.problem(key, wrong.message, wrong.hint)
        return _FAILED


def _value(reading: _Reading, hint: object, value: object, key: str) -> object:
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        options = tuple(o for o in options if o is not NoneType)
        hint = next((o for o in options if type(value) is o), options[0])
        return _value(reading, hint, value, key)
    if origin is tuple:
        return _array(reading, options[0], value, key)
    if origin is Mapping:
        return _named(reading, options[1], value, key)
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            reading.problem(key, f"must be a table, not {values.kind(value)}.", f"Write [{key}] above its keys.")
            return _FAILED
        return _dataclass(reading, cast(type[Dataclass], hint), value, key)
    return _converted(reading, lambda given: _leaf(hint, given), value, key)


def _array(reading: _Reading, element: object, value: object, key: str) -> object:
    if not isinstance(value, list | tuple):
        hint = f"Write [[{key}]] above each." if is_dataclass(element) else f"Write {key.split('.')[-1]} = [ … ]"
        reading.problem(key, f"must be a list, not {values.kind(value)}.", hint)
        return _FAILED
    return tuple(_value(reading, element, one, f"{key}[{n}]") for n, one in enumerate(value, start=1))


def _named(reading: _Reading, element: object, value: object, key: str) -> object:
    if not isinstance(value, Mapping):
        reading.problem(key, f"must be a table, not {values.kind(value)}.", f"Write [{key}.NAME] above its keys.")
        return _FAILED
    named: dict[str, object] = {}
    for name, one in value.items():
        below = _below(key, _name(name))
        kind = _tagged(reading, element, one, below)
        if kind is _FAILED:
            continue
        takes_name = is_dataclass(kind) and any(f.name == "name" and f.metadata.get("internal") for f in fields(kind))
        if takes_name and isinstance(one, Mapping) and not reading.internal:
            if "name" in one:
                reading.problem(f"{below}.name", "unknown key.", f"The name is the one in [{below}].")
                continue
            inside = _Reading(reading.file, reading.problems, internal=True)
            named[name] = _dataclass(inside, cast(type[Dataclass], kind), {**one, "name": name}, below)
        else:
            named[name] = _value(reading, kind, one, below)
    return named


def _tagged(reading: _Reading, element: object, table: object, key: str) -> object:
    """Which of several dataclasses the table is; anything else is what it was."""
    kinds: list[Any] = [option for option in get_args(element) if is_dataclass(option)]
    if not kinds or not isinstance(table, Mapping):
        return kinds[0] if kinds else element
    return kind_of(kinds, table) or _unknown_tag(reading, kinds, table, key)


def kind_of(kinds: Sequence[type[K]], table: Mapping[str, object]) -> type[K] | None:
    """The dataclass whose TAG the table has; the first where it says nothing; None where it has another's."""
    key, _ = kinds[0].TAG
    given = table.get(key, kinds[0].TAG[1][0])
    # One of the wrong type is told by the field itself.
    return next((kind for kind in kinds if not isinstance(given, str) or given in kind.TAG[1]), None)


def _unknown_tag(reading: _Reading, kinds: Sequence[Any], table: Mapping[str, object], key: str) -> object:
    tag, _ = kinds[0].TAG
    known = ", ".join(f'"{value}"' for kind in kinds for value in kind.TAG[1])
    reading.problem(_below(key, tag), f"{values.shown(str(table[tag])[:60])} is no {tag}.", f"Known: {known}.")
    return _FAILED


def _leaf(hint: object, value: object) -> object:
    if hint is Path:
        return values.path(value)
    if hint is datetime:
        return values.moment(value)
    if hint is timedelta:
        return values.duration(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return values.choice(hint, value)
    if hint is float and type(value) in (int, float) and math.isfinite(cast(float, value)):
        return float(cast(float, value))
    if type(value) is not hint or hint is float:  # type, not isinstance: True is no number here
        raise values.WrongValue(f"must be {values.KINDS.get(hint, str(hint))}, not {values.kind(value)}.")
    return values.text(value) if isinstance(value, str) else value


def _written(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return values.duration_text(value)
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _written(one) for name, one in value.items()}
    return write(cast(Dataclass, value)) if is_dataclass(value) else value


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _name(written: str) -> str:
    """A key as it stands in a dotted path: bare where TOML allows it, else quoted."""
    return written if _BARE.fullmatch(written) else values.shown(written)


def _example(field: Field[Any], hint: object) -> str:
    """What to write for a key that is missing."""
    example = field.metadata.get("example")
    if example is None and isinstance(hint, type) and issubclass(hint, Enum):
        example = f'"{next(iter(hint)).value}"'
    return "" if is_dataclass(hint) else f"Write {key_of(field)} = {example or _EXAMPLES.get(hint, '…')}"


_EXAMPLES: Mapping[object, str] = {
    str: '"…"',
    Path: '"/path"',
    int: "0",
    datetime: "2026-11-22T19:40:00Z",
    timedelta: '"1h"',
}
