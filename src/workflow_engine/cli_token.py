"""`workflow-engine token`: keys of the API, made in the database. Whoever has DATABASE_URL decides who gets one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from workflow_engine.access import Role, make_key
from workflow_engine.errors import EngineError, InputInvalid, NotFound

if TYPE_CHECKING:
    from workflow_engine.records import ListedKey
    from workflow_engine.store.api_keys import ApiKeys

T = TypeVar("T")

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LONGEST_GROUP = 256  # as that of an assignee

token_app = typer.Typer(help="Keys of the API, in the database at DATABASE_URL.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="Whose key it is: a person or a program. Several may have one name.")]
Roles = Annotated[list[Role], typer.Option("--role", help="What it may do; repeatable.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="It may answer approvals of this assignee, too; repeatable.")
]
Expires = Annotated[str | None, typer.Option("--expires", metavar="TIME", help="After which it ends, such as 90d.")]
Overlap = Annotated[str, typer.Option("--overlap", metavar="TIME", help="For how long the old key is still good.")]
All = Annotated[bool, typer.Option("--all", help="Also those that were revoked or have expired.")]


@token_app.command()
def create(name: Name, roles: Roles, groups: Groups = None, expires: Expires = None) -> None:
    """Make a key and print it. It is shown this once: only what proves it is kept."""
    if not _NAME.fullmatch(name):
        message = "write up to 64 letters, digits and . _ @ -, beginning with a letter or digit"
        raise typer.BadParameter(message, param_hint="--name")
    for group in groups or ():
        if not 0 < len(group) <= _LONGEST_GROUP or not group.isprintable():
            raise typer.BadParameter(f"write 1 to {_LONGEST_GROUP} characters", param_hint="--group")
    lifetime = None if expires is None else _lifetime(expires)
    _make(name, sorted(set(roles)), sorted(set(groups or ())), lifetime)


@token_app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a key, as `token list` shows it.")],
    overlap: Overlap = "1d",
    expires: Expires = None,
) -> None:
    """Make a key in place of another, with its name, roles and groups, and print it. The old one ends after a while."""
    seconds = read_duration(overlap, "--overlap")

    async def find(keys: ApiKeys) -> ListedKey:
        for key in await keys.list():
            if key.id == key_id:
                return key
        raise NotFound(f"There is no key {key_id[:80]!r} that is still good.", hint="workflow-engine token list")

    old = _with_keys(find)
    lifetime = None if old.expires_at is None else old.expires_at - old.created_at
    if expires is not None:
        lifetime = _lifetime(expires)
    _make(old.name, old.roles, old.groups, lifetime, replaces=old.id, overlap=timedelta(seconds=seconds))
    typer.echo(f"The key {old.id} is still good for {overlap}.", err=True)


@token_app.command(name="list")
def list_keys(everything: All = False) -> None:
    """Show the keys there are."""
    found = _with_keys(lambda keys: keys.list(ended=everything))
    if not found:
        typer.echo("There are no keys. Make one: workflow-engine token create --role admin --name NAME", err=True)
        return
    head = ("ID", "NAME", "ROLES", "GROUPS", "CREATED", "EXPIRES", "LAST USED", "STATUS")
    rows = [head, *(_row(key) for key in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@token_app.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID|NAME", help="The id of a key, or a name: all keys that have it.")],
) -> None:
    """End keys. Every engine refuses them within five seconds."""
    for id in _with_keys(lambda keys: keys.revoke(which)):
        typer.echo(f"Revoked {id}.")


def read_duration(text: str, option: str) -> float:
    """Seconds, as an option has them."""
    from workflow_engine.definition.durations import parse_duration

    try:
        return parse_duration(text)
    except InputInvalid as error:
        raise typer.BadParameter(error.faults[0].message, param_hint=option) from None


def _lifetime(text: str) -> timedelta:
    seconds = read_duration(text, "--expires")
    if seconds <= 0:
        raise typer.BadParameter("must be more than zero", param_hint="--expires")
    return timedelta(seconds=seconds)


def _make(
    name: str,
    roles: Sequence[str],
    groups: Sequence[str],
    lifetime: timedelta | None,
    *,
    replaces: str | None = None,
    overlap: timedelta = timedelta(),
) -> None:
    key = make_key()
    expires_at = _with_keys(
        lambda keys: keys.create(
            id=key.id,
            name=name,
            roles=roles,
            groups=groups,
            hash=key.hash,
            lifetime=lifetime,
            replaces=replaces,
            overlap=overlap,
        )
    )
    until = f"expires on {_day(expires_at)}" if expires_at else "does not expire"
    typer.echo(f"The key {key.id} of {name} ({', '.join(roles)}) {until}. It is shown this once:", err=True)
    typer.echo(key.text)


def _with_keys(act: Callable[[ApiKeys], Awaitable[T]]) -> T:
    from workflow_engine.bootstrap import open_store
    from workflow_engine.settings import load_settings

    async def run() -> T:
        async with open_store(load_settings(), "workflow-engine token", size=1) as store:
            if not await store.has_api_keys():
                raise EngineError(
                    "The database at DATABASE_URL has no place for keys.", hint="First run: workflow-engine migrate"
                )
            return await act(store.api_keys)

    return asyncio.run(run())


def _row(key: ListedKey) -> tuple[str, ...]:
    return (
        key.id,
        key.name,
        ",".join(key.roles),
        ",".join(key.groups) or "-",
        _day(key.created_at),
        _day(key.expires_at) if key.expires_at else "never",
        key.last_used_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if key.last_used_at else "never",
        key.status,
    )


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d")
