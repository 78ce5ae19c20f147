"""SSH signatures (`ssh-keygen -Y`): made, checked against a file of signers, and told why not.

No key is read and no signature computed here: that is OpenSSH's work. Source: ssh-keygen(1), PROTOCOL.sshsig.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.text import drawable
from engines.trusted_file import safe_path, trusted_users

LARGEST = 16 * 1024  # letters of a signature: one of RSA with 16,384 bits has about 3,000
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_WITHIN = 20.0  # seconds for ssh-keygen; an agent may have to be asked
_WHAT_SSH_SAYS = (
    ("key has expired", "its key has expired"),
    ("key is not yet valid", "its key is not valid yet"),
    ("not permitted for use in signature namespace", "its key may not sign this: the file of signers names other uses"),
)


@dataclass(frozen=True, slots=True)
class Read:
    """What a signature says of itself."""

    key: str  # fingerprint of the public key in it, as SHA256:…
    namespace: str


@dataclass(frozen=True, slots=True)
class Signers:
    """Who may sign, and which keys may not any more. Both as configured."""

    allowed: Path
    revoked: Path | None = None


def read_signature(armoured: str) -> Read:
    """Raises Refused for what is no SSH signature."""
    refusal = Refused(
        "That is not an SSH signature. Nothing was changed.", f"It begins with {_BEGIN} and ends with {_END}."
    )
    inner = armoured.strip()
    if len(armoured) > LARGEST or not inner.startswith(_BEGIN) or not inner.endswith(_END):
        raise refusal
    try:
        blob = base64.b64decode("".join(inner[len(_BEGIN) : -len(_END)].split()), validate=True)
        if not blob.startswith(_MAGIC):
            raise refusal
        key, rest = _string(blob[len(_MAGIC) + 4 :])
        namespace, _rest = _string(rest)
    except (binascii.Error, ValueError) as error:
        raise refusal from error
    fingerprint = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return Read(f"SHA256:{fingerprint}", namespace.decode(errors="replace"))


def canonical(armoured: str) -> str:
    """The same signature, written in the one way that ssh-keygen writes it."""
    inner = "".join(armoured.strip()[len(_BEGIN) : -len(_END)].split())
    return "\n".join((_BEGIN, *(inner[at : at + 70] for at in range(0, len(inner), 70)), _END)) + "\n"


def _string(blob: bytes) -> tuple[bytes, bytes]:
    """A string with its length in front (RFC 4251, 5), and what follows."""
    length = int.from_bytes(blob[:4], "big")
    if len(blob) < 4 + length:
        raise ValueError("cut short")
    return blob[4 : 4 + length], blob[4 + length :]


def is_over(text: bytes, armoured: str, namespace: str) -> bool:
    """Was this signature made over exactly this text? Whose key it is stays open."""
    with _kept(armoured) as file:
        return _ssh(["check-novalidate", "-n", namespace, "-s", file], text).returncode == 0


def signer(
    text: bytes, armoured: str, namespace: str, principals: Sequence[str], signers: Signers, at: datetime
) -> tuple[str, Read]:
    """The principal who signed `text`, and what the signature says. Raises Refused with the reason why it is none.

    `at` is when the key has to be valid: now, or when the signature was used.
    """
    read = read_signature(armoured)
    if read.namespace != namespace:
        raise Refused(
            f"The signature was made for {drawable(read.namespace)!r}, not for {namespace!r}. Nothing was changed.",
            f"Sign it with: ssh-keygen -Y sign -n {namespace}",
        )
    if not is_over(text, armoured, namespace):
        raise Refused(
            "The signature is over another text: another session, plan, step or time. Nothing was changed.",
            "Print what waits for a signature now, and sign exactly that.",
        )
    _check_files(signers)
    with _kept(armoured) as file:
        if not principals:
            raise Refused("Nobody is configured who could sign this. Nothing was changed.", "Add a [[person]].")
        said = ""
        for principal in principals:
            verified = _verify(file, text, namespace, principal, signers.allowed, None, at)
            said += verified.stderr.decode(errors="replace")
            if verified.returncode != 0:
                continue
            last = signers.revoked
            if last and _verify(file, text, namespace, principal, signers.allowed, last, at).returncode != 0:
                raise _not_by(read, "its key is revoked")
            return principal, read
        for sign, reason in _WHAT_SSH_SAYS:
            if sign in said:
                raise _not_by(read, reason)
        found = _ssh(["find-principals", "-s", file, "-f", str(signers.allowed)], b"").stdout.decode().split()
    if found:
        raise _not_by(read, f"it is by {drawable(', '.join(found))}, and wanted is one of {', '.join(principals)}")
    raise _not_by(read, f"its key is not in {drawable(str(signers.allowed))}")


def _not_by(read: Read, reason: str) -> Refused:
    return Refused(
        f"The signature by key {read.key} does not count: {reason}. Nothing was changed.",
        "Sign with a key that the file of signers has for this person, namespace and time.",
    )


def _check_files(signers: Signers) -> None:
    """The runner believes these files, so nobody else may have written them."""
    for path in (signers.allowed, signers.revoked):
        if path is None:
            continue
        problems = safe_path(path, trusted_users() | {os.geteuid()})
        if problems or not os.access(path, os.R_OK):
            why = problems[0].message if problems else "it can't be read."
            raise Refused(
                f"Signatures can't be checked by {drawable(str(path))}: {why} Nothing was changed.",
                (problems[0].hint if problems else "") or "Mend `signers` and `revoked` under [approval].",
            )


def _verify(
    file: str, text: bytes, namespace: str, principal: str, allowed: Path, revoked: Path | None, at: datetime
) -> subprocess.CompletedProcess[bytes]:
    when = f"-Overify-time={at.astimezone(UTC):%Y%m%d%H%M%SZ}"
    taken_away = ["-r", str(revoked)] if revoked is not None else []
    options = ["-f", str(allowed), "-I", principal, "-n", namespace, "-s", file, when, *taken_away]
    return _ssh(["verify", *options], text)


def sign(content: bytes, key: Path, namespace: str) -> str:
    """The armoured signature over `content`. Raises RestoreError where the key can't sign without being asked."""
    done = _ssh(["sign", "-f", str(key), "-n", namespace], content)
    if done.returncode != 0:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        raise RestoreError(
            f"The key {key} can't sign: {drawable(said[-1]) if said else 'ssh-keygen does not say why'}.",
            "It needs no passphrase, or is in the agent of whoever began the session (name its .pub then).",
        )
    return done.stdout.decode()


@contextmanager
def _kept(armoured: str) -> Iterator[str]:
    """The signature in a file of our own, for as long as ssh-keygen reads it."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="reinstate-", suffix=".sig"))
            file.write(armoured.strip().encode() + b"\n")
            file.flush()
        except OSError as error:
            raise RestoreError(
                f"The signature can't be kept for ssh-keygen to read: {error.strerror}. Nothing was changed.",
                "Free some space in the folder for temporary files.",
            ) from error
        yield file.name


def _ssh(options: Sequence[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    """Ask ssh-keygen. It is never let near a terminal, where it would ask for a passphrase."""
    environ = {name: os.environ[name] for name in ("PATH", "SSH_AUTH_SOCK", "TMPDIR", "TZ") if name in os.environ}
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", *options],
            input=content,
            capture_output=True,
            timeout=_WITHIN,
            check=False,
            start_new_session=True,
            env={**environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RestoreError(
            f"ssh-keygen can't be asked about a signature: {error}. Nothing was changed.",
            "Install openssh-client.",
        ) from error
