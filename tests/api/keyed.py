"""An engine that asks for keys."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg

from workflow_engine.access import make_key

NOBODY = "00000000-0000-0000-0000-000000000007"
ONE_STEP = [{"id": "a", "type": "noop"}]
WORKFLOWS = "/api/v1/workflows"


class Keyed:
    """An engine that asks for keys, and a database to make them in."""

    def __init__(self, api: httpx.Client, database_url: str) -> None:
        self.api = api
        self.database_url = database_url
        self.database = psycopg.connect(database_url, autocommit=True)
        self.ids: dict[str, str] = {}

    def key(self, name: str, *roles: str, groups: tuple[str, ...] = (), **more: Any) -> dict[str, str]:
        """Make a key; the header that shows it."""
        key = make_key()
        self.ids[name] = key.id
        self.database.execute(
            "select workflow.create_api_key(%s, %s, %s, %s, %s, %s)",
            [key.id, name, list(roles), list(groups), key.hash, more.get("lifetime")],
        )
        return {"Authorization": f"Bearer {key.text}"}

    def value(self, query: str, *params: Any) -> Any:
        row = self.database.execute(query.encode(), params).fetchone()
        return row[0] if row else None

    def audit(self, **wanted: Any) -> list[dict[str, Any]]:
        """Rows of the audit log, latest first, which have these values."""
        where = " and ".join(f"{column} = %({column})s" for column in wanted) or "true"
        cursor = self.database.cursor(row_factory=psycopg.rows.dict_row)
        cursor.execute(f"select * from workflow.audit where {where} order by id desc".encode(), wanted)
        return cursor.fetchall()
