"""Packets as bytes: what is built can be read by PyMySQL, and no bytes from outside do more than raise BadPacket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import RestoreError
from engines.mysql.source import packets
from engines.mysql.source.framing import BATCH, Framing
from engines.mysql.source.packets import LARGEST, BadPacket
from tests.engines.mysql.source.sending import SERVER_ID, rotate, sealed

ABLE = packets.PROTOCOL_41 | packets.SECURE_CONNECTION | packets.PLUGIN_AUTH


def a_response(user: bytes = b"u", scramble: bytes = b"s" * 32, plugin: bytes = b"caching_sha2_password") -> bytes:
    return ABLE.to_bytes(4, "little") + bytes(28) + user + b"\0" + bytes((len(scramble),)) + scramble + plugin + b"\0"


def an_event(size: int, kind: int = 30) -> bytes:
    head = bytes(4) + bytes((kind,)) + bytes(4) + (size + 23).to_bytes(4, "little") + (9).to_bytes(4, "little")
    return sealed(head + bytes(2) + bytes(size))


def unframed(whole: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(whole):
        size = int.from_bytes(whole[at : at + 3], "little")
        found.append((whole[at + 3], whole[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


@pytest.mark.parametrize("size", [0, 1, LARGEST - 1, LARGEST, LARGEST + 1, 2 * LARGEST])
def test_a_payload_of_any_size_is_framed_and_ends_in_a_short_packet(size: int) -> None:
    found = unframed(packets.framed(bytes(size), 255))
    assert sum(len(payload) for _, payload in found) == size
    assert [number for number, _ in found] == [(255 + n) % 256 for n in range(len(found))]
    assert all(len(payload) == LARGEST for _, payload in found[:-1])
    assert len(found[-1][1]) < LARGEST


def test_an_answer_to_the_greeting_is_read() -> None:
    found = packets.response(a_response())
    assert (found.user, found.scramble, found.plugin) == (b"u", b"s" * 32, "caching_sha2_password")
    assert "sss" not in repr(found)


def test_each_answer_that_is_cut_short_is_refused() -> None:
    whole = a_response()
    for size in range(len(whole)):
        with pytest.raises(BadPacket):
            packets.response(whole[:size])


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(garbage: bytes) -> None:
    packets.wants_tls(garbage)
    for read in (packets.response, packets.dump_request):
        for payload in (garbage, b"\x12" + garbage, b"\xff\xff\xff\xff" + garbage, a_response()[:33] + garbage):
            with suppress(BadPacket):
                read(payload)


def test_a_request_for_events_is_read() -> None:
    payload = b"\x12" + (1234).to_bytes(4, "little") + bytes(2) + (7).to_bytes(4, "little") + b"binlog.000003"
    assert packets.dump_request(payload) == packets.DumpRequest("binlog.000003", 1234, 7)


@pytest.mark.parametrize("sizes", [[10] * 300, [BATCH, 3, BATCH * 2], [LARGEST - 24, 5], [LARGEST * 2, 5]])
def test_a_stream_holds_the_events_as_they_are_in_numbered_packets(sizes: list[int]) -> None:
    events = [an_event(size) for size in sizes]
    stream = Framing(SERVER_ID, True, "binlog.000001", 4)
    sent = b"".join(bytes(batch) for batch in stream.batches(iter(events)))
    found = unframed(sent + stream.heartbeat())
    assert [number for number, _ in found] == [(1 + n) % 256 for n in range(len(found))]
    joined, whole = b"", []
    for _, payload in found:
        joined += payload
        if len(payload) < LARGEST:
            whole.append(joined)
            joined = b""
    assert whole[:-1] == [b"\0" + event for event in events]


def test_a_heartbeat_says_where_the_stream_has_come_to() -> None:
    stream = Framing(SERVER_ID, True, "binlog.000001", 4)
    list(stream.batches(iter([rotate("binlog.000002", 345)])))
    ((_, first),) = unframed(stream.heartbeat())
    assert (first[1 + 4], first[1 + 13 : 1 + 17]) == (27, (345).to_bytes(4, "little"))
    assert first[20:-4] == b"binlog.000002"
    list(stream.batches(iter([an_event(3)])))
    ((_, second),) = unframed(stream.heartbeat())
    assert second[1 + 13 : 1 + 17] == (9).to_bytes(4, "little")


def test_what_came_before_a_failure_goes_out() -> None:
    def events() -> Iterator[bytes]:
        yield an_event(3)
        raise RestoreError("The log is damaged.", "Fetch it again.")

    batches = Framing(SERVER_ID, True, "binlog.000001", 4).batches(events())
    assert len(next(batches)) == 4 + 1 + 26
    with pytest.raises(RestoreError):
        next(batches)


def test_an_empty_event_hands_over_what_there_is() -> None:
    stream = Framing(SERVER_ID, True, "binlog.000001", 4)
    sizes = [len(batch) for batch in stream.batches(iter([b"", an_event(3), b"", an_event(3)]))]
    assert sizes == [0, 31, 31]


def test_400_000_events_take_little_time() -> None:
    event = an_event(60)
    begun = time.process_time()
    stream = Framing(SERVER_ID, True, "binlog.000001", 4)
    total = sum(len(batch) for batch in stream.batches(event for _ in range(400_000)))
    assert total == 400_000 * (len(event) + 5)
    assert time.process_time() - begun < 2.5
