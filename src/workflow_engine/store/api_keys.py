"""Keys of the API: make, list, end them; and find those that callers show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from workflow_engine.errors import NotFound
from workflow_engine.records import ApiKey, ListedKey
from workflow_engine.store.pool import Pool


class ApiKeys:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        *,
        id: str,
        name: str,
        roles: Sequence[str],
        groups: Sequence[str],
        hash: bytes,
        lifetime: timedelta | None = None,
        replaces: str | None = None,
        overlap: timedelta = timedelta(),
    ) -> datetime | None:
        """Make a key; returns when it expires.

        Args:
            id: In its text.
            name: Of the principal.
            roles: What it may do.
            groups: What else it is called among the assignees of approvals.
            hash: What its text proves.
            lifetime: None: it does not expire.
            replaces: Id of a key whose place it takes.
            overlap: For how long that one is still good.

        Raises:
            NotFound: There is no such key to replace, or it has ended.
        """
        expires_at: datetime | None = await self._pool.value(
            "select workflow.create_api_key(%s, %s, %s, %s, %s, %s, %s, %s)",
            [id, name, list(roles), list(groups), hash, lifetime, replaces, overlap],
        )
        return expires_at

    async def revoke(self, which: str) -> list[str]:
        """End a key by its id, or all keys of a name; returns the ids of those that were ended.

        Raises:
            NotFound: There is none that is still good.
        """
        ended: list[str] = await self._pool.value(
            "select coalesce(array_agg(k.id), '{}') from workflow.revoke_api_keys(%s) k", [which], repeatable=True
        )
        if not ended:
            raise NotFound(
                f"There is no key {which[:80]!r} that is still good.",
                hint="workflow-engine token list shows the keys there are.",
            )
        return ended

    async def find(self, ids: Sequence[str]) -> list[ApiKey | None]:
        """The keys with these ids, in their order; None where there is none."""
        found = await self._pool.rows(ApiKey, "select * from workflow.find_api_keys(%s)", [list(ids)])
        by_id = {key.id: key for key in found}
        return [by_id.get(id) for id in ids]

    async def note(self, id: str) -> None:
        """Note that a key is used; more than once a minute it costs nothing and does nothing."""
        await self._pool.value("select workflow.note_api_key(%s)", [id], repeatable=True)

    # Last, since `list` in the annotations above means the built-in one.
    async def list(self, *, ended: bool = False) -> list[ListedKey]:
        """The keys there are, by name; `ended` also those that were revoked or have expired."""
        return await self._pool.rows(
            ListedKey,
            "select id, name, roles, groups, created_at, expires_at, revoked_at, last_used_at, status"
            " from workflow.api_key_list where %s or status = 'active' order by name, created_at",
            [ended],
        )
