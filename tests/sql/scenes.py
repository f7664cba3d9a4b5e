"""Workflows in which a task is in each of the states that there are."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from .engine import Claim, Completion, Engine, resource
from .nested import child, define, step


def define_scene(engine: Engine) -> None:
    lock = [resource("lock", "x")]
    both = [*lock, resource("limit", "some", capacity=2)]
    define(engine, {"quiet": step()}, name="child")
    define(
        engine,
        {
            "done": step(), "run": step(["done"], resources=both, priority=1), "held": step(["done"], resources=lock),
            "behind": step(["run", "done"]), "later": step(), "sig": step(), "ask": step(), "nap": step(),
            "kid": step(), "each": step(),
        },
        {"each": ("item", {"in": step(), "out": step(["in"])})},
        name="most",
        plan={"fail_fast": False},
    )  # fmt: skip
    define(engine, {"did": step(compensation="undo"), "open": step(), "undo": step(kind="compensation")}, name="undone")
    define(engine, {"ended": step()}, name="over")
    one = {"key": [{"text": "k"}], "limit": 1, "on_conflict": "queue"}
    define(engine, {"only": step()}, name="line", plan={"concurrency": [one]})


def first_ends(claims: dict[str, Claim]) -> list[Completion]:
    """What the first claims of all workflows come to: an end, a retry, and all kinds of waits."""
    return [
        claims["done"].succeeded(logs=[{"message": "said"}]),
        claims["later"].retried(1000),
        claims["sig"].waiting("signal", name="go", count=1),
        claims["ask"].waiting("approval", prompt="?"),
        claims["nap"].waiting("timer", delay=1000),
        child(claims["kid"], on_parent_cancel="cancel"),
        claims["each"].opens(1, 2, width=1),
        claims["ended"].succeeded(),
        claims["did"].succeeded(),
    ]


@dataclass
class Scene:
    """Attributes:
    most: The workflow with most of the states.
    undone: One with something to undo; cancelled already, once all is set.
    claims: By step, those that run, or that have just been made.
    """

    most: UUID
    undone: UUID
    claims: dict[str, Claim]

    def ids(self, engine: Engine) -> dict[str, str]:
        """The ids of tasks by step, as SQL has them; `workflow` is that of `most`."""
        tasks = engine.rows("select min(id) as id, step from workflow.task_list group by step")
        return {row["step"]: str(row["id"]) for row in tasks} | {"workflow": f"'{self.most}'"}


def begin(engine: Engine) -> Scene:
    """Everything is started and claimed."""
    define_scene(engine)
    most = engine.start("most")
    engine.start("over")
    undone = engine.start("undone")
    for _ in range(2):
        engine.start("line")
    return Scene(most, undone, {c.step: c for c in engine.claim()})


def set_scene(engine: Engine) -> Scene:
    """Tasks of `most` and of others are in every state."""
    scene = begin(engine)
    engine.finish(*first_ends(scene.claims))
    engine.cancel(scene.undone)
    scene.claims = {c.step: c for c in engine.claim()}
    return scene
