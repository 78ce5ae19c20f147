"""A certificate for one replay, so that rows do not cross the network in the clear.

It encrypts, and proves nothing: the target has no way to be told of it but files on its own disk, so it does not
verify it. Who pulls is proven by the one-time password; that the target talks to this machine, by the address that it
was given over its own connection.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engines.text import utc_now

if TYPE_CHECKING:
    from cryptography import x509

_DAYS = 7


def certificate(private: Path, address: str) -> ssl.SSLContext:
    """What a server of this address shows. The key is on disk, in a folder of ours alone, for the moment of reading."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reinstate")])
    begins = utc_now() - timedelta(hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_named(address)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    content = made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = private / f"source-{secrets.token_hex(4)}.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
        context.load_cert_chain(path)
    finally:
        path.unlink(missing_ok=True)
    return context


def _named(address: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
