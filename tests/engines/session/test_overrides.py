"""An override is for what was read, of the plan that it was said of: for no other answer, and no other plan."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from engines.errors import Refused
from engines.session import commands as c
from engines.session.moves import AskKind, blocking_checks, overriding
from engines.session.report import report
from engines.session.statement import seen_in, stated
from engines.session.verify import verify
from engines.text import stamp, utc_now
from tests.engines.session.toy_session import ToySession, asks, sees
from tests.servers.waiting import until

PEOPLE = ({"name": "Boris Iv", "login": "boris", "roles": ["incident commander"], "principal": "boris@shop"},)


async def test_a_check_that_says_something_else_by_now_is_not_overridden_and_what_was_is_recorded(
    session: ToySession,
) -> None:
    bad = session.ground / "bad-ground"
    bad.write_text("one cable is loose")
    session.begin()
    console = await session.console()
    await sees(console, asks(AskKind.CHECKS))
    read = overriding(console.state, "ground", "boris", "one cable is enough")
    bad.write_text("the house burns")
    await console.do(c.Recheck("ground"))
    with pytest.raises(Refused, match=r"It says now FAIL: the house burns\. Nothing was changed") as refusal:
        await console.do(read)
    assert "Read that" in refusal.value.hint
    assert session.state.checks["ground"].blocks
    bad.write_text("one cable is loose")
    await console.do(c.Recheck("ground"))
    await console.do(read)
    assert blocking_checks(session.state, ()) == ()
    record = tomllib.loads((session.folder / "session.toml").read_text())
    (deviation,), (check,) = record["deviation"], record["check"]
    assert deviation["evidence"] == "one cable is loose"
    assert check["overridden_sha256"] == read.seen
    assert "one cable is loose" in report(session.state).split("## Deviations")[1].split("##")[0]
    assert [one["command"] for one in record["rejected"]] == ["Override"]


async def test_a_signature_that_was_looked_at_while_the_plan_became_another_one_is_refused(
    session: ToySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
    (tmp_path / "signers").write_text(f"boris@shop {key.with_suffix('.pub').read_text()}")
    (session.ground / "bad-ground").touch()
    started, go = slow_ssh_keygen(tmp_path / "bin", monkeypatch)
    approval = {"self_approval": ["local"], "window_seconds": 3600, "signers": str(tmp_path / "signers")}
    session.begin(people=PEOPLE, approval=approval)
    console, bringing = await session.console(), await session.console("bo")
    await sees(console, asks(AskKind.CHECKS))
    await sees(bringing, asks(AskKind.CHECKS))
    first = console.state.plan_digest
    override = overriding(console.state, "ground", "", "known to be bad")
    until_then = stamp((utc_now() + timedelta(minutes=5)).replace(microsecond=0))
    text = stated(console.state, override, until_then).text
    assert seen_in(text, "ground") == override.seen
    armoured = keygen("-Y", "sign", "-f", str(key), "-n", "reinstate-approval", content=text)
    signature = c.Signature(armoured, until_then)
    brought = asyncio.create_task(bringing.do(c.Override("ground", "", override.reason, override.seen, signature)))
    await asyncio.to_thread(until, started.exists, "the signature is being looked at")
    await console.do(c.Choose({"name": "b2", "path": str(session.ground / "backup")}))
    await sees(console, lambda state: state.plan_digest not in ("", first) and asks(AskKind.CHECKS)(state))
    go.touch()
    with pytest.raises(Refused, match="What waits for a signature has changed meanwhile"):
        await brought
    assert session.state.checks["ground"].blocks
    assert session.state.signatures == frozenset(), "it was used for nothing"
    assert verify(session.folder).wrong == ""


def keygen(*words: str, content: str = "") -> str:
    real = shutil.which("ssh-keygen", path="/usr/bin:/bin") or ""
    return subprocess.run([real, *words], input=content.encode(), capture_output=True, check=True).stdout.decode()


def slow_ssh_keygen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The real one, which waits for the second file once it has made the first."""
    folder.mkdir()
    started, go = folder / "started", folder / "go"
    wrapper = folder / "ssh-keygen"
    real = shutil.which("ssh-keygen")
    wrapper.write_text(f'#!/bin/sh\n: > "{started}"\nwhile [ ! -e "{go}" ]; do sleep 0.02; done\nexec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return started, go
