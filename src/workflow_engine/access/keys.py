"""The text of a key, `wfk_<id>_<secret>`, and what is kept of it: its id and a hash.

The secret is 256 random bits, so a plain hash cannot be reversed by trying, and no further secret has to be kept the
same on all engines to check it. The id is no secret: lists, logs and the audit log name keys by it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import dataclass, field

PREFIX = "wfk_"
"""By which scanners for secrets know a key."""

_ID_LENGTH = 12
_SECRET_LENGTH = 43  # of 62 characters: 256 bits
_ID_CHARACTERS = string.ascii_lowercase + string.digits
_SECRET_CHARACTERS = string.ascii_letters + string.digits
_KEY = re.compile(rf"{PREFIX}([a-z0-9]{{{_ID_LENGTH}}})_([A-Za-z0-9]{{{_SECRET_LENGTH}}})")
_ANYTHING_LIKE_A_KEY = re.compile(rf"{PREFIX}[A-Za-z0-9]*(?:_[A-Za-z0-9]*)?")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; its text is shown once and then forgotten."""

    id: str
    text: str = field(repr=False)
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key that somebody shows: which it says it is, and the hash that would prove it."""

    id: str
    hash: bytes = field(repr=False)


def make_key() -> NewKey:
    """A new key from the system's random source."""
    id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_SECRET_CHARACTERS) for _ in range(_SECRET_LENGTH))
    return NewKey(id, f"{PREFIX}{id}_{secret}", _hash(id, secret))


def read_key(text: str) -> PresentedKey | None:
    """What a text says, or None when it is no key."""
    match = _KEY.fullmatch(text)
    return PresentedKey(match[1], _hash(match[1], match[2])) if match else None


def hide_keys(text: str) -> str:
    """The text without the secrets of keys in it: people put them into URLs."""
    return _ANYTHING_LIKE_A_KEY.sub(f"{PREFIX}***", text) if PREFIX in text else text


def _hash(id: str, secret: str) -> bytes:
    # With the id in it, a hash proves one key and no other.
    return hashlib.sha256(f"workflow-engine key\0{id}\0{secret}".encode()).digest()
