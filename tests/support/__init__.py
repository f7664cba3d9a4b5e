"""What tests share: the servers they run on, and waiting for a condition.

from support import eventually
"""

from support.eventually import eventually, eventually_async

__all__ = ["eventually", "eventually_async"]
