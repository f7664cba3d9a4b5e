"""Starts of single workflows that arrive at the same time share a statement and a commit.

Who rides along must not keep the others waiting: a definition whose starts wait for each other (idempotency,
concurrency, budget) and one of many steps have a transaction of their own, and so have requests with an idempotency key
and large inputs. If a ride is refused, each of its starts is sent alone: what is wrong with one is its matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from workflow_engine.api.rides import Rides
from workflow_engine.errors import EnginePaused, StoreUnavailable
from workflow_engine.records import StartedWorkflow, WorkflowStart
from workflow_engine.store.workflows import Workflows

_MOST = 100  # starts in one statement
_MOST_STEPS = 100
_LARGEST_INPUT = 16 * 1024  # bytes
_RULED = ("idempotency", "concurrency", "budget")


class JoinedStarts:
    """Starts single workflows, together with those that others start in the same moment."""

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows
        self._rides: Rides[WorkflowStart, StartedWorkflow] = Rides(self._serve, most=_MOST)

    async def start(self, start: WorkflowStart, document: Mapping[str, Any]) -> StartedWorkflow:
        """Start a workflow of a definition; raises what `Workflows.start` raises."""
        if may_join(start, document):
            return await self._rides.take(start)
        return await self._alone(start)

    async def close(self) -> None:
        await self._rides.close()

    async def _serve(self, starts: Sequence[WorkflowStart]) -> Sequence[StartedWorkflow | Exception]:
        if len(starts) > 1:
            try:
                return (await self._workflows.start(starts))[0]
            except (EnginePaused, StoreUnavailable):  # no better for any of them
                raise
            except Exception:  # nothing was started; each is told its own
                return await asyncio.gather(*(self._answered(start) for start in starts))
        return [await self._alone(starts[0])]

    async def _answered(self, start: WorkflowStart) -> StartedWorkflow | Exception:
        try:
            return await self._alone(start)
        except Exception as error:
            return error

    async def _alone(self, start: WorkflowStart) -> StartedWorkflow:
        (workflow,), _ = await self._workflows.start([start])
        return workflow


def may_join(start: WorkflowStart, document: Mapping[str, Any]) -> bool:
    """Whether nobody would have to wait for this start."""
    return (
        not any(document.get(rule) for rule in _RULED)
        and 0 < len(document.get("steps", ())) <= _MOST_STEPS  # none: it does not say what it is
        and len(orjson.dumps(start.input)) <= _LARGEST_INPUT
    )
