"""A worker reads a plan once, however many tasks of it begin together: one of 10,000 steps takes a while."""

import asyncio

import pytest
from support.wire import Wire

from workflow_engine.definition.compile import compile_definition
from workflow_engine.errors import DefinitionNotFound
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store
from workflow_engine.worker.plans import Plans


async def test_a_plan_is_read_once_by_all_who_ask_together_and_anew_when_it_is_forgotten(database_url: str) -> None:
    definition = compile_definition({"name": "wide", "steps": [{"id": f"s{n}", "type": "noop"} for n in range(100)]})
    with Wire(database_url) as wire:
        pool = Pool(wire.url, name="plans")
        await pool.open()
        try:
            definitions = Store(pool).definitions
            await definitions.register(definition)
            version = (await definitions.resolve("wide")).id
            plans = Plans(definitions)

            def readings() -> int:
                return sum(text.startswith("select plan") for _, text in wire.statements)

            impatient = asyncio.create_task(plans.read(version))
            others = [asyncio.create_task(plans.read(version)) for _ in range(100)]
            await asyncio.sleep(0)
            impatient.cancel()  # the first that asked leaves
            found = await asyncio.gather(*others)
            assert all(plan is found[0] for plan in found)
            assert plans.get(version) is found[0]
            assert readings() == 1

            plans.forget()
            assert plans.get(version) is None
            assert await plans.read(version) == found[0]
            assert readings() == 2

            for _ in range(2):  # what failed is tried anew
                with pytest.raises(DefinitionNotFound):
                    await plans.read(version + 1)
            assert readings() == 4
        finally:
            await pool.close()
