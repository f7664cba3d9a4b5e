"""The command `workflow-engine`.

Every command imports what it needs when it runs, so that `--help` is quick and `serve` never loads the embedded stack.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workflow_engine.access import read_key
from workflow_engine.cli_token import read_duration, token_app
from workflow_engine.errors import EngineError, ServerUnreachable, SettingsInvalid

if TYPE_CHECKING:
    from workflow_engine.client.http import Client
    from workflow_engine.settings import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_TIMED_OUT = 124  # as timeout(1) has it
EXIT_INTERRUPTED = 130
_DEFAULT_DATA_DIRECTORY = Path(".workflow-engine")

app = typer.Typer(
    name="workflow-engine",
    help="A durable workflow engine on Postgres. Settings come from the environment; see docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(token_app, name="token")

DataDirectory = Annotated[Path | None, typer.Option("--data-dir", help="Where the servers keep their data and logs.")]
Include = Annotated[
    list[str] | None, typer.Option("--include", metavar="MODULE", help="Load handlers from this module; repeatable.")
]
Engines = Annotated[int, typer.Option("--engines", min=1, help="Number of engine processes.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Number of worker processes.")]
Server = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="The engine to speak to (WORKFLOW_SERVER).")
]
Token = Annotated[
    str | None, typer.Option("--token", metavar="KEY", help="A key of that engine; better by WORKFLOW_TOKEN.")
]


@app.command()
def migrate(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Change nothing; end when somebody else has done it.")] = False,
    grant: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=ACCESS", help="Let a role work as engine, worker, reader, auditor or scaler."),
    ] = None,
) -> None:
    """Bring the database at DATABASE_URL to the present schema."""
    from workflow_engine.settings import load_settings

    url = load_settings().session_database_url
    if wait:
        from workflow_engine.bootstrap import wait_until_migrated

        wait_until_migrated(url, say=typer.echo)
        return
    from workflow_engine.bootstrap import migrate as bring_up_to_date

    grants = [(role, access) for role, _, access in (each.rpartition("=") for each in grant or ())]
    applied = bring_up_to_date(url, grants)
    typer.echo(f"Applied: {', '.join(applied)}" if applied else "The database is up to date.")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (PORT).")] = None,
) -> None:
    """Run an engine: the API and the maintenance duties."""
    settings = _settings(HOST=host, PORT=port)
    settings.check_auth_choice()
    from workflow_engine.api.server import serve
    from workflow_engine.observability.logs import configure_logging

    configure_logging(settings, role="engine")
    serve(settings)


@app.command()
def worker(
    include: Include = None,
    queues: Annotated[str | None, typer.Option(help="Queues to serve, separated by commas (WORKFLOW_QUEUES).")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Tasks to run at once (WORKER_CONCURRENCY).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of this worker (WORKFLOW_WORKER_NAME).")] = None,
) -> None:
    """Run a worker until SIGTERM; it then finishes what it runs and hands the rest back."""
    settings = _settings(
        WORKFLOW_INCLUDE=_modules(include),
        WORKFLOW_QUEUES=queues,
        WORKER_CONCURRENCY=concurrency,
        WORKFLOW_WORKER_NAME=name,
    )
    from workflow_engine.observability.logs import configure_logging
    from workflow_engine.worker.runtime import run_worker

    if settings.include_modules:
        sys.path.insert(0, str(Path.cwd()))  # a module beside where the command was typed, as with `python -m`
    configure_logging(settings, role="worker")
    run_worker(settings)


@app.command()
def alive(
    host: Annotated[str, typer.Option(envvar="HOST", help="Address they listen on (HOST).")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", help="Port of an engine (PORT).")] = 3003,
    metrics_port: Annotated[
        int, typer.Option(envvar="WORKER_METRICS_PORT", help="Port of a worker (WORKER_METRICS_PORT).")
    ] = 9464,
) -> None:
    """Ask the engine or worker in this container whether it lives. Exit code 1 when not, or when there is none."""
    from workflow_engine.client.alive import look

    # Not all settings are read: this runs every few seconds.
    ports = {"engine": port, "worker": metrics_port}
    well, lines = look(host, {name: number for name, number in ports.items() if number})
    for line in lines:
        typer.echo(line)
    if not well:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def logs(
    workflow_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a workflow.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the workflow has ended, also across restarts of engines.")
    ] = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Print what happened to a workflow, line by line, whichever process did the work."""
    from urllib.parse import quote

    path = f"/workflows/{quote(workflow_id, safe='')}"
    with _client(server, token) as client:
        if not follow:
            for line in client.lines(f"{path}/logs", format="text"):
                typer.echo(line)
            return

        from workflow_engine.api.log_lines import told_as_logfmt
        from workflow_engine.client.following import follow_log

        told = str(client.get(path)["id"])
        try:
            for event in follow_log(client, f"{path}/events", lambda text: typer.echo(text, err=True)):
                typer.echo(told_as_logfmt(told, event))
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Definitions, as JSON or YAML.")],
    include: Include = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="A task type that workers bring; repeatable.")
    ] = None,
) -> None:
    """Check definitions in files, without an engine. Exit code 1 when one is refused, with FILE:PLACE: what is wrong.

    A file is JSON or YAML by its suffix. All findings are on standard output, also warnings.
    """
    from workflow_engine.api.offline import check_file, known_types

    task_types = known_types(_included(include), types or ())
    refused = 0
    for path in files:
        checked = check_file(path, task_types)
        for line in checked.lines:
            typer.echo(line)
        refused += not checked.accepted
    if refused:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def schema() -> None:
    """Print the JSON Schema of definitions, for editors."""
    import json

    from workflow_engine.definition.json_schema import definition_schema

    typer.echo(json.dumps(definition_schema(), separators=(",", ":")))


@app.command()
def graph(  # noqa: PLR0917 its options are given by name
    what: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A file, or the name of a registered definition.")],
    form: Annotated[str, typer.Option("--format", help="text, mermaid, dot or svg.")] = "text",
    include: Include = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="A task type that workers bring; repeatable.")
    ] = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Draw the steps of a definition: one in a file, without an engine, or one that an engine has."""
    from workflow_engine.api.offline import FORMS, check_file, is_file, known_types, picture_from

    if form not in FORMS:
        raise typer.BadParameter(f"write {', '.join(FORMS)}", param_hint="--format")
    if is_file(what):
        checked = check_file(Path(what), known_types(_included(include), types or ()))
        if checked.picture is None:
            for line in checked.lines:
                typer.echo(line, err=True)
            raise typer.Exit(EXIT_FAILED)
        picture = checked.picture
    else:
        from urllib.parse import quote

        with _client(server, token) as client:
            picture = picture_from(what, client.get(f"/workflows/{quote(what, safe='')}/dag"))
    try:
        typer.echo(FORMS[form](picture), nl=False)
    except ValueError as error:
        typer.echo(f"workflow-engine: {error}; the other formats have no such limit", err=True)
        raise typer.Exit(EXIT_FAILED) from None


@app.command()
def dev(
    *,
    port: Annotated[int, typer.Option(help="Port of the first engine.")] = 3003,
    data_dir: DataDirectory = None,
    engines: Engines = 1,
    workers: Workers = 2,
    include: Include = None,
    mock_http: Annotated[bool, typer.Option("--mock-http", help="A local echo answers every http step.")] = False,
) -> None:
    """Run everything on this machine: PostgreSQL, Valkey, engines, workers and stand-ins for the neighbours."""
    from functools import partial

    from workflow_engine.embedded.stack import Stack, StackOptions
    from workflow_engine.embedded.terminal import announce
    from workflow_engine.settings import load_settings

    options = StackOptions(
        data_directory=data_dir or _DEFAULT_DATA_DIRECTORY,
        port=port,
        engines=engines,
        workers=workers,
        include=_modules(include),
        mock_http=mock_http,
    )
    # A wrong value in the environment is told here, once, not by every child.
    settings = load_settings(PORT=port)
    settings.check_auth_choice()
    Stack(options).run(when_ready=partial(announce, needs_keys=settings.needs_keys))


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Port of the engine; another one is taken when it is not free.")] = 3003,
    data_dir: DataDirectory = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of worker processes.")] = 2,
) -> None:
    """Start everything, run the runbook's workflow, show it, and stop. Exit code 0 when it succeeded."""
    from workflow_engine.embedded.demo import run_demo
    from workflow_engine.settings import load_settings

    load_settings(PORT=port)
    succeeded = run_demo(data_directory=data_dir, preferred_port=port, workers=workers)
    raise typer.Exit(0 if succeeded else EXIT_FAILED)


@app.command()
def doctor(
    *, as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")] = False
) -> None:
    """Look at Postgres, Redis and the engine; say what is wrong and what to do. Exit code 1 when something fails."""
    from workflow_engine.doctor import Level, examine

    failed = False
    for finding in examine(_settings()):
        failed |= finding.level == Level.FAIL
        if as_json:
            import orjson

            typer.echo(orjson.dumps(finding.as_json()).decode())
        else:
            for line in finding.lines():
                typer.echo(line)
    if failed:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def drain(
    timeout: Annotated[str, typer.Option(help="How long to wait: 90s, 5m.")] = "5m",
    server: Server = None,
    token: Token = None,
    pause: Annotated[bool, typer.Option("--pause/--no-pause", help="Pause the intake first.")] = True,
) -> None:
    """Pause the intake and wait until no workflow runs, before a restart. Exit code 124 when the time was over."""
    from workflow_engine.client.drain import MOST_EXPLAINED, Drain, counted, whether_paused

    seconds = read_duration(timeout, "--timeout")
    with _client(server, token) as client:
        try:
            left = Drain(client, pause=pause, say=typer.echo).run(seconds)
        except KeyboardInterrupt:
            typer.echo(f"Interrupted. {whether_paused(client)}", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        paused = whether_paused(client)
    if not left:
        typer.echo(f"Drained: no workflow runs. {paused}")
        return
    typer.echo(f"After {timeout} {counted(len(left))} still running:", err=True)
    for workflow in left[:MOST_EXPLAINED]:
        typer.echo(f"  {workflow.id}  {workflow.name}", err=True)
        for reason in workflow.reasons:
            typer.echo(f"    {reason}", err=True)
    if len(left) > MOST_EXPLAINED:
        typer.echo(f"  and {len(left) - MOST_EXPLAINED} more", err=True)
    typer.echo(paused, err=True)
    raise typer.Exit(EXIT_TIMED_OUT)


def main() -> None:
    """Run the command line. Exit code 1: it failed; 2: the command line or a setting is wrong; 3: no engine answers."""
    try:
        app()
    except SettingsInvalid as error:
        _complain(error, EXIT_USAGE)
    except ServerUnreachable as error:
        _complain(error, EXIT_UNREACHABLE)
    except EngineError as error:
        _complain(error, EXIT_FAILED)


def _complain(error: EngineError, code: int) -> None:
    typer.echo(f"workflow-engine: {error.detail}", err=True)
    if error.hint:
        typer.echo(error.hint, err=True)
    sys.exit(code)


def _settings(**flags: Any) -> Settings:
    """The environment, beaten by the flags that were given."""
    from workflow_engine.settings import load_settings

    return load_settings(**{name: value for name, value in flags.items() if value is not None})


def _client(server: str | None, token: str | None) -> Client:
    from workflow_engine.client.http import Client

    settings = _settings(WORKFLOW_SERVER=server, WORKFLOW_TOKEN=token)
    if settings.token and read_key(settings.token) is None:
        raise SettingsInvalid("WORKFLOW_TOKEN (or --token) is no key: one is wfk_, 12 characters, _ and 43 characters")
    return Client(settings.server, token=settings.token)


def _included(include: list[str] | None) -> list[str]:
    """The modules to load handlers from; one may lie beside where the command was typed, as with `python -m`."""
    modules = list(include) if include else list(_settings().include_modules)
    if modules:
        sys.path.insert(0, str(Path.cwd()))
    return modules


def _modules(include: list[str] | None) -> str | None:
    return ",".join(include) if include else None


if __name__ == "__main__":
    main()
