"""`workflow:tasks:pending`: the ids of the pending tasks, for autoscalers and for people; and one list per queue.

A snapshot, not increments: a push per event would lose an id for ever when a process dies between commit and push. The
list is built under another name and renamed, so that nobody ever reads half of it, and every step is fenced by the
leader's epoch, so that a leader that was deposed without noticing changes nothing. Nobody consumes it: what others do
to it is repaired by the next snapshot.

All keys of a list share a hash slot: a script may touch them together in a cluster, too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from workflow_engine.mirror.client import Kind, Mirror
from workflow_engine.records import PendingQueue

if TYPE_CHECKING:
    from redis.asyncio import Redis

PENDING = "workflow:tasks:pending"
EPOCH = f"{{{PENDING}}}:epoch"
"""The epoch of the leader that wrote last. Gone with everything else when Redis lost its memory."""
MEMORY = f"{{{PENDING}}}:memory"
"""Made anew whenever the epoch was gone: while it stays, Redis remembers what was written."""
_QUEUES = f"{{{PENDING}}}:queues"
_EPOCH_SECONDS = 60  # a database restored from a backup counts from a lower number; it is obeyed after this time
_CHUNK = 5000  # ids that one script pushes; Redis serves others in between
_OP = "pending"

# KEYS list, next, epoch [, memory]; ARGV epoch, seconds it is valid, a new memory, whether this is the first part and
# the last, how many ids the list then has, ids separated by commas.
_WRITE = """
local stored = redis.pcall('GET', KEYS[3])
if type(stored) == 'table' then stored = false end
if stored and (tonumber(stored) or 0) > tonumber(ARGV[1]) then return 'refused' end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
if KEYS[4] then
    if not stored or redis.call('EXPIRE', KEYS[4], ARGV[2]) == 0 then
        redis.call('SET', KEYS[4], ARGV[3], 'EX', ARGV[2])
    end
end
if ARGV[4] == '1' then redis.call('DEL', KEYS[2]) end
local ids = {}
for id in string.gmatch(ARGV[7], '[^,]+') do ids[#ids + 1] = id end
if #ids > 0 then
    redis.call('RPUSH', KEYS[2], unpack(ids))
    redis.call('EXPIRE', KEYS[2], ARGV[2])
end
if ARGV[5] == '1' then
    if redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[6]) then return 'torn' end
    if ARGV[6] == '0' then
        redis.call('DEL', KEYS[1])
    else
        redis.call('RENAME', KEYS[2], KEYS[1])
        redis.call('PERSIST', KEYS[1])
    end
end
return 'ok'
"""

# KEYS queues; ARGV names. Whatever else stands under that name gives way.
_NOTE_QUEUES = """
if redis.call('TYPE', KEYS[1]).ok ~= 'set' then redis.call('DEL', KEYS[1]) end
return redis.call('SADD', KEYS[1], unpack(ARGV))
"""


class Deposed(Exception):
    """A later leader writes to the mirror."""


class Torn(Exception):
    """A list was changed by others while it was built."""


class PendingLists:
    """Writes the lists.

    Args:
        mirror: Where.
        epoch: Of the leader on whose behalf.
    """

    def __init__(self, mirror: Mirror, epoch: int) -> None:
        self._mirror = mirror
        self._epoch = epoch
        self._written: set[str] | None = None  # queues whose lists may be there; None until Redis was asked

    async def write(self, queues: Sequence[PendingQueue]) -> int:
        """Replace the lists by this snapshot; returns the length of the list of all.

        Raises:
            Deposed: A later leader has begun to write; nothing was changed.
            Torn: Someone else wrote under a name that is ours; the next snapshot sets it right.
            RedisUnavailable: Redis is away or refuses; a list has its old or its new content.
        """
        parts = {queue.queue: list(_parts(queue.task_ids)) for queue in queues}
        try:
            length = await self._write(PENDING, [part for of_queue in parts.values() for part in of_queue])
            left = await self._note(parts) - parts.keys()
            for queue, of_queue in parts.items():
                await self._write(f"{PENDING}:{queue}", of_queue)
            for queue in left:
                await self._write(f"{PENDING}:{queue}", [])
            if left:
                await self._mirror.call(_OP, lambda redis: redis.srem(_QUEUES, *left))
        except BaseException:
            self._written = None  # Redis may have lost its memory, or been replaced by another one
            raise
        self._written = set(parts)
        return length

    async def _note(self, names: Iterable[str]) -> set[str]:
        """Remember in Redis which queues have lists; returns all that may have one, also by an earlier leader."""
        names = set(names)
        if self._written is None:
            self._written = set(await self._mirror.call(_OP, _members))
        if new := names - self._written:
            await self._mirror.call(_OP, lambda redis: redis.eval(_NOTE_QUEUES, 1, _QUEUES, *new))
        return self._written | names

    async def _write(self, name: str, parts: Sequence[list[str]]) -> int:
        keys = [name, f"{{{name}}}:next", f"{{{name}}}:epoch", *([MEMORY] if name == PENDING else [])]
        total = sum(len(part) for part in parts)
        last = max(len(parts) - 1, 0)
        for number, part in enumerate(parts or [[]]):
            arguments = [self._epoch, _EPOCH_SECONDS, uuid.uuid4().hex, int(number == 0), int(number == last), total]
            answer = await self._mirror.call(_OP, _script(keys, [*arguments, ",".join(part)]))
            if answer == "refused":
                raise Deposed
            if answer == "torn":
                raise Torn(name)
        return total


async def length_of(mirror: Mirror, queue: str) -> int:
    """How many ids the list of a queue has: what an autoscaler reads.

    Raises:
        RedisUnavailable: Redis does not answer, or something else stands under that name.
    """
    return await mirror.call(_OP, lambda redis: _length(redis, f"{PENDING}:{queue}"), kind=Kind.READ)


def _parts(task_ids: str) -> Iterator[list[str]]:
    ids = task_ids.split(",")
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _script(keys: list[str], arguments: list[Any]) -> Any:
    async def act(redis: Redis) -> str:
        return str(await redis.register_script(_WRITE)(keys, arguments))

    return act


async def _length(redis: Redis, name: str) -> int:
    return int(await redis.llen(name))


async def _members(redis: Redis) -> set[str]:
    if await redis.type(_QUEUES) != "set":
        return set()
    return {str(name) for name in await redis.smembers(_QUEUES)}
