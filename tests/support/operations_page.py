"""docs/operations.md as it stands: its statements and commands, run as an operator would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from workflow_engine.embedded.postgres import Postgres

_PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
QUICK = {"fsync": "off", "full_page_writes": "off"}
"""Settings of a server whose machine does not go down in the test."""


def blocks(title: str, language: str) -> list[str]:
    """The code of a section, in order."""
    section = re.split(r"^## ", _PAGE.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def run_statements(url: str, text: str) -> None:
    """Each for itself, as psql does."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in re.sub(r"--.*", "", text).split(";"):
            if statement.strip():
                connection.execute(statement.encode())


def url_as(postgres: Postgres, user: str) -> str:
    """URL of the database `workflow` for one of the roles of the page."""
    (password,) = set(re.findall(rf"role {user} .*password '([^']+)'", blocks("Roles", "sql")[0]))
    parts = urlsplit(postgres.url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@127.0.0.1:{postgres.port}"))


def make_roles(postgres: Postgres) -> None:
    """Roles and database as the page makes them, by an administrator as managed servers have them: no superuser."""
    server = postgres.url.removesuffix("workflow") + "postgres"
    run_statements(
        server,
        "drop database workflow;"  # that our server makes itself
        "create role administrator login createrole createdb password 'administrator';"
        "grant pg_read_all_stats to administrator with admin option",
    )
    parts = urlsplit(server)
    administrator = parts._replace(netloc=f"administrator:administrator@127.0.0.1:{postgres.port}")
    run_statements(urlunsplit(administrator), blocks("Roles", "sql")[0])


def grant_roles(postgres: Postgres) -> None:
    """What the owner says of the others, once the schema is there."""
    run_statements(url_as(postgres, "workflow_owner"), blocks("Roles", "sql")[1])


def shell(postgres: Postgres, commands: str, place: Path, **env: str) -> str:
    """Run commands with the programs of that server and ours on the PATH; returns what they said."""
    path = [str(postgres.binaries.directory), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=place, env={**os.environ, "PATH": os.pathsep.join(path), **env},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
