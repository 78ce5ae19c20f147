"""A certificate made for one session, signed by itself.

What it gives: the line between target and source is encrypted. What it does not: the target can't prove whom it talks
to, since a channel's SOURCE_SSL_CA (MASTER_SSL_CA) is a path on the target's own machine, where nothing of ours lies.
So a channel can only have SOURCE_SSL=1 and no verification, or MASTER_SSL=1 and MASTER_SSL_VERIFY_SERVER_CERT=0. It is
the target that proves itself, by the one-time password.
"""

from __future__ import annotations

import os
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from engines.errors import RestoreError
from engines.text import drawable

_VALID: Final = timedelta(days=30)
_BEFORE: Final = timedelta(days=1)  # the target's clock may be behind


def made_context(folder: Path) -> ssl.SSLContext:
    """What a source needs to speak TLS 1.2 or later, with a new key and its certificate.

    Both are in the private folder, mode 0600, for the moment in which they are read. Raises RestoreError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0  # nobody comes back to a session
    path = folder / f"source-{secrets.token_hex(4)}.pem"
    try:
        _write(path, b"".join(_pair()))
        context.load_cert_chain(path)
    finally:
        path.unlink(missing_ok=True)
    return context


def _pair() -> tuple[bytes, bytes]:
    # Late: it takes 50 ms, and few commands need it.
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "reinstate")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _write(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise RestoreError(
            f"{drawable(str(path))} can't be written: {error.strerror}. Nothing was served.",
            "The session's folder needs room, and has to belong to whoever runs Reinstate.",
        ) from error
