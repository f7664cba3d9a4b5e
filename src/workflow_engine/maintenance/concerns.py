"""Asks Postgres in one statement what concerns the leader, in place of a dozen sweeps each second that find nothing."""

from __future__ import annotations

from collections.abc import Sequence

from workflow_engine.errors import StoreUnavailable
from workflow_engine.maintenance.counting import Counting
from workflow_engine.maintenance.duty import Duty
from workflow_engine.maintenance.expired_leases import ExpiredLeases
from workflow_engine.maintenance.narrator import Narrator
from workflow_engine.maintenance.webhooks import Webhooks
from workflow_engine.observability.logs import get_logger
from workflow_engine.store.store import Store


class Concerns:
    """What may be waiting for a duty that is asked for only then; webhooks are told themselves."""

    def __init__(self, store: Store, duties: Sequence[Duty], webhooks: Webhooks) -> None:
        self._maintenance = store.maintenance
        self._all = frozenset(duty.name for duty in duties)
        self._narrator = next((duty for duty in duties if isinstance(duty, Narrator)), None)
        self._counting = [duty for duty in duties if isinstance(duty, Counting)]
        self._hearings = [duty.hearing for duty in duties if isinstance(duty, ExpiredLeases)]
        self._webhooks = webhooks
        self._log = get_logger("maintenance")

    async def look(self) -> frozenset[str]:
        """The names of the duties that may have something to do; all of them if it cannot be told."""
        try:
            concerned, now = await self._maintenance.concerns(self._narrator.seen if self._narrator else None)
        except StoreUnavailable as error:
            self._log.warning("duties postponed", error=error.detail)
            return frozenset()
        except Exception:  # a bug here must not end the duties
            self._log.exception("concerns unknown")
            return self._all
        for hearing in self._hearings:
            hearing.heard(now)
        if self._webhooks.name in concerned:
            self._webhooks.due.set()
        if Narrator.name in concerned:
            for duty in self._counting:
                duty.behind = True  # also if the narrator is through with them before its turn comes
        return concerned | {duty.name for duty in self._counting if duty.behind}
