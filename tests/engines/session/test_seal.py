"""The signature over a finished record: made at the end, checked later, and honest about what it can't be made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engines.errors import Refused
from engines.session.archive import export
from engines.session.events import SendingAsked
from engines.session.journal import Journal, Writer
from engines.session.record import render
from engines.session.seal import SEAL
from engines.session.ssh_keys import Signers
from engines.session.verify import verify
from engines.text import utc_now
from tests.engines.session.examples import ANA
from tests.engines.session.toy_session import ToySession, gone, work_through


def key_in(folder: Path, name: str, passphrase: str = "") -> Path:
    made = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(made)], check=True)
    return made


def signers_in(folder: Path, key: Path, options: str = "") -> Signers:
    allowed = folder / "allowed"
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    allowed.write_text(f"# who signs records\nbastion@shop {options}{public}\n")
    return Signers(allowed)


def ssh(*words: str, content: bytes) -> bytes:
    return subprocess.run(["ssh-keygen", "-Y", *words], input=content, capture_output=True, check=True).stdout


async def finished(session: ToySession, key: Path | None) -> None:
    approval: dict[str, object] = {"self_approval": ["local"], "window_seconds": 3600}
    mark = session.begin(approval=approval | ({"record_key": str(key)} if key else {}))
    console = await session.console()
    await work_through(console)
    gone(mark.pid)
    await console.close()


async def test_a_record_is_signed_at_its_end_and_is_authentic_to_whoever_believes_the_key(
    session: ToySession, tmp_path: Path
) -> None:
    key = key_in(tmp_path, "key")
    await finished(session, key)
    folder = session.folder
    assert (folder / SEAL).stat().st_mode & 0o777 == 0o600
    by_itself = verify(folder)
    assert (by_itself.wrong, by_itself.verdict, by_itself.signed) == ("", "CONSISTENT", True)
    assert any("whose that is, --signers tells" in line for line in by_itself.holds)
    known = verify(folder, signers_in(tmp_path, key))
    assert (known.wrong, known.verdict) == ("", "AUTHENTIC")
    assert any("signed by bastion@shop" in line for line in known.holds)
    assert SEAL in export(folder, tmp_path / "a.tar.gz", logs=False)
    # The same as anybody without Reinstate would check it.
    told = ["-f", str(tmp_path / "allowed"), "-I", "bastion@shop", "-n", "reinstate-record", "-s", str(folder / SEAL)]
    ssh("verify", *told, content=(folder / "session.toml").read_bytes())


async def test_a_whole_rewrite_is_consistent_and_its_signature_shows_it(session: ToySession, tmp_path: Path) -> None:
    key, other = key_in(tmp_path, "key"), key_in(tmp_path, "other")
    await finished(session, key)
    record, seal = session.folder / "session.toml", session.folder / SEAL
    right = record.read_bytes()
    record.write_bytes(right + b"\n# a line more\n")
    assert "session.toml" in verify(session.folder).wrong
    (session.folder / "journal.jsonl").rename(tmp_path / "journal.jsonl")
    assert verify(session.folder).wrong == f"{SEAL}: it is not a signature over this session.toml."
    record.write_bytes(right)
    lone = verify(session.folder, signers_in(tmp_path, key))
    assert (lone.wrong, lone.verdict) == ("", "AUTHENTIC, IN PART")
    (tmp_path / "journal.jsonl").rename(session.folder / "journal.jsonl")
    seal.write_bytes(ssh("sign", "-f", str(other), "-n", "reinstate-record", content=right))
    assert verify(session.folder).wrong == ""
    assert "is not in" in verify(session.folder, signers_in(tmp_path, key)).wrong
    seal.write_text("garbage")
    assert "not an SSH signature" in verify(session.folder).wrong
    seal.unlink()
    assert any("was to be signed" in line for line in verify(session.folder).unchecked)


@pytest.mark.parametrize("missing", [False, True])
async def test_a_key_that_can_not_sign_is_told_at_the_beginning_and_asks_for_nothing(
    missing: bool, session: ToySession, tmp_path: Path
) -> None:
    key = tmp_path / "gone" if missing else key_in(tmp_path, "key", "a passphrase")
    await finished(session, key)
    (note,) = session.state.notes
    assert note.text.startswith("The record will not be signed: The key")
    assert session.state.ended is not None
    assert not (session.folder / SEAL).exists()
    found = verify(session.folder)
    assert found.wrong == ""
    assert found.verdict == "CONSISTENT, IN PART"


async def test_a_kill_before_a_record_was_signed_anew_is_said_and_mended_by_resume(
    session: ToySession, tmp_path: Path
) -> None:
    await finished(session, key_in(tmp_path, "key"))
    writer = Writer(session.folder / "journal.jsonl", utc_now)  # what a notify does that is killed before it signs
    writer.append(SendingAsked(ANA), "ana")
    record = render(Journal(tuple(writer.entries), tuple(writer.lines)))
    writer.close()
    (session.folder / "session.toml").write_bytes(record)
    (session.folder / "report.md").unlink()
    found = verify(session.folder)
    assert (found.wrong, found.verdict, found.signed) == ("", "CONSISTENT, IN PART", False)
    (told,) = found.unchecked
    assert told.startswith(f"{SEAL} is over the record as it was at journal line ")
    assert verify(session.folder, signers_in(tmp_path, tmp_path / "key")).verdict == "CONSISTENT, IN PART"
    with pytest.raises(Refused, match="is over"):
        session.resume()
    found = verify(session.folder, signers_in(tmp_path, tmp_path / "key"))
    assert (found.wrong, found.verdict) == ("", "AUTHENTIC")


async def test_a_key_whose_time_is_over_signs_nothing_that_counts(session: ToySession, tmp_path: Path) -> None:
    key = key_in(tmp_path, "key")
    await finished(session, key)
    assert "has expired" in verify(session.folder, signers_in(tmp_path, key, 'valid-before="20200101Z" ')).wrong
    assert "names other uses" in verify(session.folder, signers_in(tmp_path, key, 'namespaces="git" ')).wrong


async def test_without_a_key_nothing_is_signed_and_nothing_is_missing(session: ToySession) -> None:
    await finished(session, None)
    assert not (session.folder / SEAL).exists()
    found = verify(session.folder)
    assert (found.verdict, found.signed) == ("CONSISTENT", False)
