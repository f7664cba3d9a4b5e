"""A real nginx before an engine, with the lines of docs/dashboard.md."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from support.eventually import eventually
from workflow_engine.embedded.places import free_port
from workflow_engine.embedded.process import Child

_PAGE = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text()


@contextmanager
def nginx(engine_url: str, place: Path) -> Iterator[str]:
    """Gives the address under which the engine is found, which has a path."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise RuntimeError("Pages are tried behind a real proxy, and there is none: apt-get install nginx")
    (location,) = re.findall(r"^```nginx\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    (path,) = re.findall(r"^location (\S+) ", location)
    port = free_port()
    kept = "".join(
        f"{kind}_temp_path {place}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {place}/nginx.pid; error_log stderr warn;\n"
        "events { worker_connections 256; }\n"
        f"http {{\naccess_log off;\n{kept}"
        f"upstream engines {{ server {urlsplit(engine_url).netloc}; keepalive 8; }}\n"
        f"server {{ listen 127.0.0.1:{port};\n{location}}}\n}}\n"
    )
    process = Child([program, "-p", place, "-c", place / "nginx.conf"], log=place / "nginx.log")

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(listens, 20)
        yield f"http://127.0.0.1:{port}{path.rstrip('/')}"
    finally:
        process.stop()
