"""Users who keep starting workflows, whatever happens to the engines, and remember what was accepted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from support.documents import Document, answer
from support.eventually import eventually
from support.truth import Truth

RECOVERY_SECONDS = 60.0


class Load:
    """Starts batches of workflows until stopped; each until it is accepted, with one idempotency key.

    Args:
        try_start: Starts workflows under a key; None = not accepted now, try again with the same key.
        batch: The documents of a batch.
        name: Of the keys.
    """

    def __init__(
        self,
        try_start: Callable[[Sequence[Document], str], list[str] | None],
        batch: list[Document],
        name: str = "batch",
    ) -> None:
        self._try_start = try_start
        self._batch = batch
        self._name = name
        self._stop = threading.Event()
        self.accepted: dict[str, Document] = {}
        self.refused = 0  # times that a batch was not accepted

    def run(self, pause: float = 0.25) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            while (started := self._try_start(self._batch, f"{self._name}-{number}")) is None:
                self.refused += 1
                self._stop.wait(pause)  # also when stopped: what was sent may have been accepted
            self.accepted.update(zip(started, self._batch, strict=True))
            self._stop.wait(pause)

    def await_accepted(self, batches: int) -> None:
        """Wait until so many more batches were accepted."""
        wanted = len(self.accepted) + batches * len(self._batch)
        eventually(lambda: len(self.accepted) >= wanted, RECOVERY_SECONDS)

    @contextmanager
    def running(self) -> Iterator[Load]:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                self.run()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(60)
        assert not failures, failures

    def assert_all_succeeded(self, truth: Truth) -> None:
        """Every workflow that was accepted is there, ended well, and has the answer that is known before."""
        ended = truth.await_ends(list(self.accepted), RECOVERY_SECONDS)
        assert set(ended) == set(self.accepted), "accepted, but not there"
        assert set(ended.values()) == {"succeeded"}
        for workflow, document in self.accepted.items():
            assert truth.output(workflow) == answer(document)
