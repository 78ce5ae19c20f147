"""What people are told arrives as text, or is said not to have; the webhook's address is nowhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from engines.notify import Channel, NotDeliveredError, deliver
from tests.servers.fake_slack import FakeSlack, fake_slack

TEXT = "[PRODUCTION shop] INC-7 authorised\nby ana <!channel> & others"


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with fake_slack() as running:
        yield running


def by_file(folder: Path, address: str, **more: object) -> Channel:
    file = folder / "webhook"
    file.write_text(f"{address}\n")
    file.chmod(0o600)
    return Channel("incidents", webhook_file=file, **more)  # type: ignore[arg-type]  # fields of Channel


def why(channel: Channel) -> str:
    with pytest.raises(NotDeliveredError) as refused:
        deliver(channel, TEXT)
    assert refused.value.__cause__ is None
    return str(refused.value)


def test_a_webhook_gets_the_text_as_text(slack: FakeSlack, tmp_path: Path) -> None:
    deliver(by_file(tmp_path, slack.url), TEXT)
    assert slack.texts == [TEXT.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")]


def test_its_address_may_be_in_a_variable(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel("incidents", webhook_env="INCIDENT_WEBHOOK")
    monkeypatch.delenv("INCIDENT_WEBHOOK", raising=False)
    assert why(channel) == "the environment variable INCIDENT_WEBHOOK is not set"
    monkeypatch.setenv("INCIDENT_WEBHOOK", slack.url)
    deliver(channel, TEXT)
    assert len(slack.texts) == 1


def test_why_it_did_not_arrive_is_said_without_the_address(slack: FakeSlack, tmp_path: Path) -> None:
    slack.answers = 403
    reasons = [why(by_file(tmp_path, slack.url))]
    assert reasons == ["the webhook answered 403"]
    reasons.append(why(by_file(tmp_path, slack.url.replace(str(slack.port), "1"))))
    reasons.append(why(by_file(tmp_path, slack.url.replace("http:", "https:"))))
    reasons.append(why(by_file(tmp_path, slack.url.replace("http:", "ftp:"))))
    reasons.append(why(by_file(tmp_path, slack.url + "\x1b")))
    reasons.append(why(by_file(tmp_path, slack.url.replace("127.0.0.1", "nobody.invalid"))))
    readable = by_file(tmp_path, slack.url)
    (tmp_path / "webhook").chmod(0o644)
    reasons.append(why(readable))
    assert not [reason for reason in reasons if slack.secret in reason or "services" in reason]


def test_one_that_hangs_takes_no_longer_than_it_may(slack: FakeSlack, tmp_path: Path) -> None:
    slack.hangs = True
    begun = time.monotonic()
    assert why(by_file(tmp_path, slack.url, timeout=timedelta(seconds=0.3))) == "no answer within 0.3 s"
    assert time.monotonic() - begun < 5


def test_a_command_gets_the_text_on_its_standard_input(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    deliver(Channel("mail", command=("sh", "-c", f"cat > {kept}")), TEXT)
    assert kept.read_text() == TEXT + "\n"


def test_a_command_that_fails_hangs_or_is_not_there_is_said(tmp_path: Path) -> None:
    assert "exit 3" in why(Channel("mail", command=("sh", "-c", "exit 3")))
    assert "was not found" in why(Channel("mail", command=("no-such-program",)))
    slow = Channel(
        "mail", command=(sys.executable, "-c", "import time; time.sleep(60)"), timeout=timedelta(seconds=0.5)
    )
    assert "still running" in why(slow)
