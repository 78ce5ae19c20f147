"""Who may pull: one user with one password, made for one replay, proven by a scramble. Pure.

The password goes over the line in no form from which it could be got back. Sources: MySQL source code documentation,
"Caching_sha2_password information" and "Native 4.1 authentication".
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from engines.mysql.flavour import Flavour

NONCE = 20  # bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """One-time: nobody else has them, and they end with the replay."""

    user: str
    password: str = field(repr=False)


def plugin_of(flavour: Flavour) -> str:
    """What each server's replicas can do without a key or a certificate."""
    return "caching_sha2_password" if flavour is Flavour.MYSQL else "mysql_native_password"


def nonce() -> bytes:
    """Random, without the bytes that would end it early."""
    return bytes(secrets.choice(range(33, 127)) for _ in range(NONCE))


def scramble(flavour: Flavour, password: str, once: bytes) -> bytes:
    """What somebody who knows the password answers to this nonce."""
    if flavour is Flavour.MYSQL:
        first = hashlib.sha256(password.encode()).digest()
        second = hashlib.sha256(hashlib.sha256(first).digest() + once).digest()
    else:
        first = hashlib.sha1(password.encode()).digest()  # noqa: S324 - mysql_native_password is made like that
        second = hashlib.sha1(once + hashlib.sha1(first).digest()).digest()  # noqa: S324
    return bytes(one ^ two for one, two in zip(first, second, strict=True))


def proven(flavour: Flavour, credentials: Credentials, user: str, answer: bytes, once: bytes) -> bool:
    """Compared in a time that tells nothing, user and answer both."""
    expected = scramble(flavour, credentials.password, once)
    right_user = hmac.compare_digest(user.encode(), credentials.user.encode())
    return hmac.compare_digest(answer, expected) and right_user
