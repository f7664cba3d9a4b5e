"""How much is measured: `short` for a look at every change, `full` for figures to write down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes and repetitions of one run."""

    rounds: int  # how often each throughput is measured, in turn with what it is compared to
    load_factor: int  # multiplies the number of workflows of each load
    cost_of_shapes: bool  # the cost of a step of the real shapes, too
    stock_jobs: int
    commit_seconds: int
    commit_clients: tuple[int, ...]  # the first is what the engine is compared to
    chains: int
    turns: int  # repetitions of each measured turn
    backlog: int  # pending or scheduled tasks
    finished: int  # finished workflows
    growth_rounds: int  # repetitions of the load on each of those databases
    history: int  # finished workflows in a database of its own, for its history of six rows each; 0: none
    large_rounds: int  # repetitions with 10,000 steps each
    parked: int  # workflows that wait
    held_seconds: float  # how long another transaction is held open
    looked_at: int  # workflows that pages and lists are read from


PROFILES = {
    "short": Profile(
        rounds=5,
        load_factor=1,
        cost_of_shapes=False,
        stock_jobs=1000,
        commit_seconds=2,
        commit_clients=(16, 1, 4, 32),
        chains=10,
        turns=40,
        backlog=100_000,
        finished=100_000,
        growth_rounds=5,
        history=0,
        large_rounds=2,
        parked=10_000,
        held_seconds=60,
        looked_at=100_000,
    ),
    "full": Profile(
        rounds=5,
        load_factor=5,
        cost_of_shapes=True,
        stock_jobs=2000,
        commit_seconds=3,
        commit_clients=(16, 1, 4, 32),
        chains=30,
        turns=100,
        backlog=100_000,
        finished=1_000_000,
        growth_rounds=9,
        history=1_700_000,
        large_rounds=5,
        parked=100_000,
        held_seconds=600,
        looked_at=1_000_000,
    ),
}
