"""Who asks: the key of a request becomes a principal.

What was read of a key is believed for five seconds, so a key that is revoked is refused on every engine within those,
and Postgres is asked seldom. All who show a key that is not remembered ride together: so ten thousand guesses cost one
statement at a time. An address that guesses again and again is not even looked up: it waits, and keys that are
remembered are served all the while.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from fastapi import Request

from workflow_engine.access import ANYONE, NOBODY, ROLES, PresentedKey, Principal, Role, read_key
from workflow_engine.api.callers import address_of, is_of_our_page
from workflow_engine.api.rates import Rates
from workflow_engine.api.remembered import Remembered
from workflow_engine.api.rides import Rides
from workflow_engine.errors import EngineError, RateLimited, StoreUnavailable, Unauthorized
from workflow_engine.records import ApiKey
from workflow_engine.settings import Settings
from workflow_engine.store.api_keys import ApiKeys

FRESH_SECONDS = 5.0
"""For so long a key is believed to be as it was."""

"""What the script of our pages adds to its requests."""

_NOTE_SECONDS = 60.0
_PATIENCE_SECONDS = 0.5
_MOST_REMEMBERED = 10_000
_MOST_AT_ONCE = 1000
_HOW = "Send the header Authorization: Bearer wfk_...; `workflow-engine token create` makes a key."
_SAFE = frozenset({"GET", "HEAD"})
_GUESSES_A_SECOND = 1.0  # of one address
_GUESSES_AT_ONCE = 20


@dataclass(slots=True)
class _Known:
    """A key, as it was read at a time."""

    key: ApiKey
    principal: Principal
    read_at: float
    note_at: float  # when it is to be noted again that it is used


class Authentication:
    """Knows the keys of callers."""

    def __init__(self, settings: Settings, keys: ApiKeys) -> None:
        self.is_on = settings.needs_keys
        self._keys = keys
        self._known: Remembered[str, _Known] = Remembered(_MOST_REMEMBERED)
        self._rate = settings.rate_limit
        self._rates = Rates(settings.rate_limit)
        self._guesses = Rates(_GUESSES_A_SECOND, _GUESSES_AT_ONCE)
        self._lookups: Rides[str, ApiKey | None] = Rides(self._find, most=_MOST_AT_ONCE)

    async def authenticate(
        self, request: Request, *, without_postgres: bool = False, counted: bool = True
    ) -> Principal:
        """Who asks; anyone, when authentication is off.

        Args:
            request: What shows the key.
            without_postgres: While Postgres does not answer, a key that was good is believed to be so. For what tells
                how the engine is: nobody must lose sight of it just then.
            counted: As a request of this key.

        Raises:
            Unauthorized: It is not known.
            RateLimited: This key asks too often, or keys are guessed where it comes from.
            StoreUnavailable: It cannot be found out.
        """
        if not self.is_on:
            return ANYONE
        shown = _shown_key(request)
        known = self._known.get(shown.id)
        address = address_of(request.scope)
        if known is None and (wait := self._guesses.left_to_wait(address)):
            raise RateLimited(
                "Too many keys that are not known came from here.", retry_after=math.ceil(wait), hint=_HOW
            )
        if known is None or time.monotonic() - known.read_at > FRESH_SECONDS:
            known = await self._read(shown.id, known if without_postgres else None)
        if known is None or not hmac.compare_digest(known.key.hash, shown.hash):
            self._guesses.wait(address)
            raise Unauthorized("invalid", "This key is not known.", hint=_HOW)
        _check_time(known)
        if counted and (wait := self._rates.wait(known.key.id)):
            raise RateLimited(f"A key may send {self._rate:g} requests a second.", retry_after=math.ceil(wait))
        if time.monotonic() - known.read_at <= FRESH_SECONDS:
            await self._note(known)
        return known.principal

    async def recognise(self, request: Request) -> Principal:
        """The same for what is open to everybody: who is not known for whatever reason is nobody."""
        if self.is_on and "authorization" not in request.headers:
            return NOBODY
        try:
            async with asyncio.timeout(2 * _PATIENCE_SECONDS):
                return await self.authenticate(request, without_postgres=True)
        except (Unauthorized, RateLimited, StoreUnavailable, TimeoutError):
            return NOBODY

    async def still_knows(self, request: Request) -> bool:
        """Whether who began to be answered may go on being answered: their key has neither been revoked nor ended.
        It counts as good for as long as nobody can tell."""
        try:
            await self.authenticate(request, without_postgres=True, counted=False)
        except Unauthorized:
            return False
        except (RateLimited, StoreUnavailable, TimeoutError):
            pass
        return True

    async def close(self) -> None:
        await self._lookups.close()

    async def _read(self, id: str, otherwise: _Known | None) -> _Known | None:
        """Ask Postgres for a key; when it does not answer, it is `otherwise`, if that is given."""
        try:
            async with asyncio.timeout(None if otherwise is None else _PATIENCE_SECONDS):
                found = await self._lookups.take(id)
        except (StoreUnavailable, TimeoutError):
            if otherwise is None:
                raise
            return otherwise
        return None if found is None else self._remember(found)

    async def _find(self, ids: Sequence[str]) -> Sequence[ApiKey | None]:
        return await self._keys.find(ids)

    def _remember(self, key: ApiKey) -> _Known:
        roles = tuple(role for role in Role if role in key.roles)  # a later version may have others
        scopes = frozenset(scope for role in roles for scope in ROLES[role])
        principal = Principal(key.name, scopes, key.id, roles, tuple(key.groups), key.expires_at)
        now = time.monotonic()
        before = self._known.get(key.id)
        noted = before.note_at if before else now + _NOTE_SECONDS if key.used_lately else now
        known = _Known(key, principal, now, noted)
        self._known.put(key.id, known)
        return known

    async def _note(self, known: _Known) -> None:
        now = time.monotonic()
        if now < known.note_at:
            return
        known.note_at = now + _NOTE_SECONDS  # at once: others who come meanwhile need not do it too
        with suppress(EngineError):  # whoever is known is served, noted or not
            await self._keys.note(known.key.id)


def _check_time(known: _Known) -> None:
    key = known.key
    said = f"The key {key.id} of {key.name}"
    if key.revoked:
        raise Unauthorized("revoked", f"{said} was revoked.", hint=_HOW, key_id=key.id, principal=key.name)
    if key.ends_in is not None and time.monotonic() - known.read_at >= key.ends_in:
        raise Unauthorized("expired", f"{said} has expired.", hint=_HOW, key_id=key.id, principal=key.name)


def _shown_key(request: Request) -> PresentedKey:
    """The key in the header `Authorization`.

    Browsers cannot be told to send one, but ask for a password: for what only reads, that may be the key. They send it
    along with the requests of foreign pages, too. So for what changes something it takes a header that pages of ours
    add, and that a page of another origin could add only if we allowed it to.
    """
    given = request.headers.getlist("authorization")
    if not given:
        raise Unauthorized("missing", "This needs a key.", hint=_HOW)
    scheme, _, credentials = given[0].strip().partition(" ")
    text = credentials.strip()
    if scheme.lower() == "basic":
        if request.method not in _SAFE and not is_of_our_page(request.headers):
            raise Unauthorized(
                "invalid", "Basic authentication is accepted for GET only, and from our pages.", hint=_HOW
            )
        text = _password(text)
    elif scheme.lower() != "bearer":
        raise Unauthorized("invalid", "Only Bearer keys are accepted.", hint=_HOW)
    key = read_key(text)
    if key is None or len(given) > 1:
        raise Unauthorized("invalid", "This is no key: one is wfk_, 12 characters, _ and 43 characters.", hint=_HOW)
    return key


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode("ascii").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
