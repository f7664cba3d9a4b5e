"""The faults, by name: what is done, how it is known that it bit, and how long it may take until all is well again."""

from __future__ import annotations

from chaos.faults import engines, postgres, redis, target, workers
from chaos.faults.fault import Fault

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (workers, engines, postgres, redis, target) for fault in module.FAULTS
}
