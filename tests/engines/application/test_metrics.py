"""Metrics: asked of a real Prometheus, now and as they were before the incident; what can't be known is UNKNOWN."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engines.application.metrics import asked, judged
from engines.application.prometheus import Nothing, read, value
from engines.checks import Verdict
from engines.expectations import Metric
from engines.watched import Prometheus
from engines.web import Reply
from tests.servers.prometheus import Server, prometheus

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
INCIDENT = NOW - timedelta(hours=3)
MINUTE = timedelta(minutes=1)
TOKEN = "t0k3n-canary"  # noqa: S105 - looked for where it must not be


def steady(value: float, until: datetime, minutes: int = 12) -> dict[datetime, float]:
    """The same value at each minute up to that moment."""
    return {until - n * MINUTE: value for n in range(minutes)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    samples = {
        'errors{code="500"}': steady(2.0, INCIDENT) | steady(3.0, NOW),
        'errors{code="502"}': steady(0.5, INCIDENT) | steady(0.25, NOW),
        "latency_seconds": steady(0.2, INCIDENT) | steady(0.2, NOW) | {NOW: 1.4},
        "gone": steady(7.0, INCIDENT),
        "odd": {NOW: float("nan")},
    }
    with prometheus(tmp_path_factory.mktemp("prometheus"), samples) as running:
        yield running


def told(server: Server, query: str, **wanted: object) -> tuple[Verdict, float | None, float | None, str]:
    metric = Metric("it", query=query, **wanted)  # type: ignore[arg-type]  # each test names fields of Metric
    check = asked(metric, Prometheus(server.url), INCIDENT, NOW)
    assert check.name == "metric: it"
    return check.verdict, check.before, check.now, check.evidence


def test_both_values_are_asked_of_the_server_and_judged(server: Server) -> None:
    errors = "sum(errors)"
    assert told(server, errors, max=4)[:3] == (Verdict.OK, 2.5, 3.25)
    assert told(server, errors, max=3)[:3] == (Verdict.FAIL, 2.5, 3.25)
    assert told(server, errors, min=3.5)[0] is Verdict.FAIL
    assert told(server, errors, max_rise_pct=40)[0] is Verdict.OK
    verdict, _, _, evidence = told(server, errors, max_rise_pct=20)
    assert verdict is Verdict.FAIL
    assert "risen too far: 3.25 now; 2.5 before (at 20" in evidence
    assert told(server, 'errors{code="502"}', max_fall_pct=60)[0] is Verdict.OK
    assert told(server, 'errors{code="502"}', max_fall_pct=40)[0] is Verdict.FAIL
    assert told(server, errors)[0] is Verdict.WARN, "nothing says what it should be"
    assert told(server, errors, baseline=3.2, max_rise_pct=5)[:3] == (Verdict.OK, 3.2, 3.25)
    assert told(server, "scalar(gone) or vector(4)", max=5)[0] is Verdict.UNKNOWN, "refused by the server"


def test_over_a_window_a_single_spike_is_averaged(server: Server) -> None:
    assert told(server, "latency_seconds", max=0.5)[:3] == (Verdict.FAIL, 0.2, 1.4)
    verdict, before, now, _ = told(server, "latency_seconds", max=0.5, window=timedelta(minutes=10))
    assert verdict is Verdict.OK
    assert before == pytest.approx(0.2)
    assert now is not None
    assert 0.19 < now < 0.4  # the server asks at whole minutes: the spike is one of ten points, or none


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("nobody_counts_this", "no series"),
        ("gone", "no series"),
        ("errors", "2 series"),
        ("errors[5m]", "matrix"),
        ("odd", "nan"),
        ("sum(", "400"),
    ],
)
def test_what_has_no_one_value_is_not_known(server: Server, query: str, why: str) -> None:
    verdict, _, now, evidence = told(server, query, max=1)
    assert verdict is Verdict.UNKNOWN
    assert now is None
    assert why in evidence


def test_a_value_before_the_incident_that_is_not_known_can_not_be_compared(server: Server) -> None:
    metric = Metric("it", query="sum(errors)", max_rise_pct=10)
    check = asked(metric, Prometheus(server.url), None, NOW)
    assert (check.verdict, check.before, check.now) == (Verdict.UNKNOWN, None, 3.25)
    assert "when the incident began is not known" in check.evidence


def test_where_nobody_answers_it_is_not_known_and_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    nowhere = Prometheus("http://127.0.0.1:1", timeout=timedelta(seconds=1))
    check = asked(Metric("it", query="up", max=1), nowhere, INCIDENT, NOW)
    assert check.verdict is Verdict.UNKNOWN
    assert "no connection" in check.evidence
    assert asked(Metric("it", query="up", max=1), None, INCIDENT, NOW).verdict is Verdict.UNKNOWN


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """Answers 7, and keeps what it was sent as a login: what a proxy before Prometheus sees."""
    seen: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.rfile.read(int(self.headers["Content-Length"]))
            self._say(b'{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}')

        def do_GET(self) -> None:
            self._say(b" 7.5\n")

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_token_comes_from_a_file_that_only_we_can_read(listener: tuple[str, list[str]], tmp_path: Path) -> None:
    url, seen = listener
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    refused = value(Prometheus(url, token_file=file), "up", NOW)
    assert isinstance(refused, Nothing)
    assert "can be read by others" in refused.why
    assert TOKEN not in refused.why
    assert seen == []
    file.chmod(0o600)
    assert value(Prometheus(url, token_file=file), "up", NOW) == 7.0
    assert seen == [f"Bearer {TOKEN}"]
    file.write_text("two words")
    assert isinstance(value(Prometheus(url, token_file=file), "up", NOW), Nothing)


def test_an_address_that_answers_with_the_number_alone(listener: tuple[str, list[str]]) -> None:
    url, _ = listener
    check = asked(Metric("it", url=f"{url}/rate", baseline=7, max_rise_pct=10), None, None, NOW)
    assert (check.verdict, check.before, check.now) == (Verdict.OK, 7, 7.5)


def test_from_nothing_any_rise_is_too_far() -> None:
    assert judged(Metric("it", query="x", max_rise_pct=50), 1.0, 0.0, INCIDENT).verdict is Verdict.FAIL
    assert judged(Metric("it", query="x", max_rise_pct=50), 0.0, 0.0, INCIDENT).verdict is Verdict.OK


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"status":"success"}',
        b'{"status":"success","data":[]}',
        b'{"status":"success","data":{"resultType":"vector","result":[1]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"value":[1]}]}}',
        b'{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}',
        b"[" * 100_000,
        b'{"status":"error","error":"\\u001b[2J"}',
    ],
)
def test_an_odd_answer_is_no_value_and_is_told_as_text(body: bytes) -> None:
    found = read(Reply(200, body))
    assert isinstance(found, Nothing)
    assert found.why.isprintable()
