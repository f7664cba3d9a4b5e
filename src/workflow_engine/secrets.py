"""Secrets by name: `secrets.NAME` in the inputs of a step. Their values come from the environment or mounted files.

The environment variable `WORKFLOW_SECRET_<NAME>` gives a secret, and so does each file in `WORKFLOW_SECRETS_DIR`, named
like the secret, as Kubernetes and Docker mount them; of the same name in both, the environment's counts. The API needs
to know the names, to refuse a definition that asks for another; only workers read values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PREFIX = "WORKFLOW_SECRET_"
"""Of the environment variables that are secrets."""
MAX_BYTES = 64 * 1024
"""Of a file that holds one."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Secrets:
    """The secrets that this process may use. Files are read at use, so that a rotated one counts at once."""

    def __init__(self, environ: Mapping[str, str], directory: str = "") -> None:
        """
        Args:
            environ: The environment.
            directory: Whose files are secrets; empty = none.
        """
        self._values = {
            name.removeprefix(PREFIX): value
            for name, value in environ.items()
            if name.startswith(PREFIX) and _NAME.fullmatch(name.removeprefix(PREFIX))
        }
        self._directory = Path(directory) if directory else None

    def __repr__(self) -> str:
        return "Secrets(***)"

    def names(self) -> frozenset[str]:
        """The secrets there are."""
        return frozenset((*self._values, *(path.name for path in self._files())))

    def get(self, name: str) -> str | None:
        """The value of a secret, without a line break at its end; None when it is not there or cannot be read."""
        if name in self._values:
            return self._values[name]
        if self._directory is None or not _NAME.fullmatch(name):
            return None
        try:
            with (self._directory / name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            return None if len(content) > MAX_BYTES else content.decode().removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError):
            return None

    def _files(self) -> Iterator[Path]:
        try:
            for path in self._directory.iterdir() if self._directory else ():
                # Kubernetes mounts links beside a hidden directory, whose name is no secret's.
                if _NAME.fullmatch(path.name) and path.is_file():
                    yield path
        except OSError:
            return
