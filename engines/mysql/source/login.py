"""Proves that a receiver knows the one-time password: the two plugins' scrambles, really compared.

The password itself never crosses the line, plain or encrypted: who fails the scramble is refused, and MySQL's full
login, in which it would, is never asked for.
Source: MySQL source code documentation, "Caching_sha2_password information", "Native Authentication".
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from typing import Final

from engines.mysql.flavour import Flavour

CACHING_SHA2: Final = "caching_sha2_password"
NATIVE: Final = "mysql_native_password"
FAST_OK: Final = b"\x01\x03"  # caching_sha2_password: the scramble was right, an OK follows
_NONCE: Final = 20  # bytes
# Zero ends the nonce, and MySQL keeps `$` out of it too.
_LETTERS: Final = bytes(letter for letter in range(1, 128) if letter != ord("$"))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the receiver logs in with. Made for one session."""

    user: str
    password: str = field(repr=False)


def made_credentials() -> Credentials:
    """One-time: nobody has had them before. They are within the 32 characters that MySQL allows either."""
    return Credentials(f"reinstate_{secrets.token_hex(4)}", secrets.token_urlsafe(24)[:32])


def plugin_of(flavour: Flavour) -> str:
    """MySQL 9 has no mysql_native_password, MariaDB before 12.1 no caching_sha2_password."""
    return CACHING_SHA2 if flavour is Flavour.MYSQL else NATIVE


def nonce() -> bytes:
    return bytes(secrets.choice(_LETTERS) for _ in range(_NONCE))


def scramble(plugin: str, password: str, nonce: bytes) -> bytes:
    """What somebody who knows the password answers to `nonce`."""
    secret = password.encode()
    if plugin == CACHING_SHA2:
        once = sha256(secret).digest()
        mask = sha256(sha256(once).digest() + nonce).digest()
    else:
        once = sha1(secret).digest()  # noqa: S324 - mysql_native_password is defined so
        mask = sha1(nonce + sha1(once).digest()).digest()  # noqa: S324
    return bytes(left ^ right for left, right in zip(once, mask, strict=True))


def proves(given: bytes, user: bytes, credentials: Credentials, plugin: str, nonce: bytes) -> bool:
    """Is it the user, with a scramble that only the password's owner can make? Takes the same time either way."""
    right_user = hmac.compare_digest(user, credentials.user.encode())
    right = hmac.compare_digest(given, scramble(plugin, credentials.password, nonce))
    return right_user and right
