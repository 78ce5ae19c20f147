"""Opens a dump whatever it is packed with, told by its first bytes and not by its name.

Everything is read to its very end: each format's own checksum is compared, and what is cut short is refused with
the byte where it went wrong. Sources: RFC 1952 (gzip), RFC 8878 (zstd), the xz and bzip2 formats, PKWARE's APPNOTE.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from engines.errors import Refused, RestoreError
from engines.text import count, drawable

_PIECE = 64 << 10  # packed bytes at a time, at most
_LEAST = 1 << 8  # and at least: however well they are packed, so many do not fill the memory
_UNPACKED = 1 << 20  # bytes that a piece is to grow to, as the one before it grew


class Unpacker(Protocol):
    """One frame or stream of a packed file, as bz2, lzma, zlib and zstandard all have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _zstd() -> Unpacker:
    import zstandard  # here: only what is packed with it needs it

    unpacker: Unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    return unpacker


def _errors(name: str) -> tuple[type[Exception], ...]:
    """What an unpacker raises for data that is not its own."""
    if name == "zstd":
        import zstandard

        return (zstandard.ZstdError,)
    return (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError)


_FORMATS: tuple[tuple[bytes, str, Callable[[], Unpacker]], ...] = (
    (b"\x1f\x8b", "gzip", lambda: zlib.decompressobj(31)),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMADecompressor),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
)
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"


@dataclass(frozen=True, slots=True)
class Opened:
    """A dump that is being read."""

    stream: BinaryIO  # of unpacked bytes
    packing: str  # plain, gzip, zstd, xz, bzip2, "zip: db-dumps/shop.sql"
    size: int  # bytes of the file
    position: Callable[[], int]  # how many of them have been read


@contextmanager
def opened(path: Path, entry: str = "") -> Iterator[Opened]:
    """The dump in `path`. `entry` names one of several in a zip. Raises RestoreError, also while it is read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise RestoreError(
            f"{drawable(str(path))} can't be opened: {error.strerror}. Nothing was loaded.", "Stage it again."
        ) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(8)
        file.seek(0)
        if first.startswith((_ZIP, _EMPTY_ZIP)):
            with _zipped(file, entry) as (stream, name):
                packing, unpacked = _unpacked(stream, f"zip: {name}")
                yield Opened(unpacked, packing, size, file.tell)
        else:
            packing, unpacked = _unpacked(file, "")
            yield Opened(unpacked, packing, size, file.tell)


def _unpacked(stream: io.BufferedReader, outer: str) -> tuple[str, io.BufferedReader]:
    first = stream.peek(8)[:8]
    for magic, name, begin in _FORMATS:
        if first.startswith(magic):
            told = f"{outer}, {name}" if outer else name
            return told, io.BufferedReader(_Frames(stream, name, begin), 1 << 20)
    return outer or "plain", stream


class _Frames(io.RawIOBase):
    """Frame after frame of a packed file, until its end, each complete."""

    def __init__(self, packed: BinaryIO, name: str, begin: Callable[[], Unpacker]) -> None:
        self._packed = packed
        self._name = name
        self._begin = begin
        self._unpacker: Unpacker | None = begin()
        self._read = 0  # packed bytes
        self._given = 0  # unpacked bytes
        self._ready = memoryview(b"")
        self._piece = _LEAST

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        view = memoryview(target).cast("B")  # type: ignore[arg-type]  # the buffer that BufferedReader hands in
        while not self._ready:
            if not self._more():
                return 0
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        self._given += size
        return size

    def _more(self) -> bool:
        packed = self._packed.read(self._piece)
        if not packed:
            if self._unpacker is not None:
                raise self._wrong("ends too early")
            return False
        self._read += len(packed)
        ready: list[bytes] = []
        while packed:
            if self._unpacker is None:
                if not packed.strip(b"\0"):
                    break  # padding, as tapes and some tools add it
                self._unpacker = self._begin()
            try:
                ready.append(self._unpacker.decompress(packed))
            except _errors(self._name) as error:
                raise self._wrong(f"is damaged ({drawable(str(error))})") from error
            packed = self._unpacker.unused_data if self._unpacker.eof else b""
            if self._unpacker.eof:
                self._unpacker = None
        self._ready = memoryview(b"".join(ready))
        self._piece = _next_piece(self._piece, len(self._ready))
        return True

    def _wrong(self, what: str) -> RestoreError:
        return RestoreError(
            f"The {self._name} file {what}, at byte {count(self._read)} of it, "
            f"{count(self._given)} of what is in it. Nothing was loaded.",
            "Choose another backup, or copy this one again and compare its checksum.",
        )


def _next_piece(piece: int, grown: int) -> int:
    """How many packed bytes to take next. What is packed a thousandfold must not be held whole."""
    return max(_LEAST, min(_PIECE, 2 * piece, piece * _UNPACKED // max(grown, 1)))


@contextmanager
def _zipped(file: BinaryIO, entry: str) -> Iterator[tuple[io.BufferedReader, str]]:
    """The one dump in a zip as spatie/laravel-backup makes it: db-dumps/NAME.sql, packed or not."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise RestoreError(
            f"The zip can't be read: {drawable(str(error))}. Its end is missing, or it is no zip. Nothing was loaded.",
            "Choose another backup: this one was cut short or damaged.",
        ) from error
    with archive:
        dumps = [info for info in archive.infolist() if _is_dump(info.filename) and entry in ("", info.filename)]
        if len(dumps) != 1:
            names = ", ".join(drawable(info.filename) for info in dumps[:5])
            raise Refused(
                f"The zip has {len(dumps)} dumps{f' ({names})' if names else ''}. Nothing was loaded.",
                "It must have one, as db-dumps/NAME.sql. Unpack the right one and list its checksum.",
            )
        if dumps[0].flag_bits & 1:
            raise Refused(
                "The zip is encrypted. Nothing was loaded.", "Decrypt it where its password is, and stage that file."
            )
        try:
            with archive.open(dumps[0]) as stream:
                yield io.BufferedReader(_Checked(stream), _PIECE), drawable(dumps[0].filename)
        except (NotImplementedError, zipfile.BadZipFile, OSError, ValueError) as error:
            raise RestoreError(
                f"The zip can't be unpacked: {drawable(str(error))}. Nothing was loaded.",
                "Choose another backup, or copy this one again and compare its checksum.",
            ) from error


def _is_dump(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return folder in ("", "db-dumps") and ".sql" in file


class _Checked(io.RawIOBase):
    """An entry of a zip; what zipfile finds wrong is told as a refusal."""

    def __init__(self, entry: IO[bytes]) -> None:
        self._entry = entry

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        view = memoryview(target).cast("B")  # type: ignore[arg-type]  # the buffer that BufferedReader hands in
        try:
            piece = self._entry.read(len(view))
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise RestoreError(
                f"The zip is damaged: {drawable(str(error))}. Nothing was loaded.",
                "Choose another backup, or copy this one again and compare its checksum.",
            ) from error
        view[: len(piece)] = piece
        return len(piece)
