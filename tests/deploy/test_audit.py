"""bin/audit fails for a package with a known vulnerability that is mended elsewhere, and for nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def osv(fixed: str | None) -> Iterator[str]:
    """A database that knows one thing about httpx."""
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else ())]
    affected = {"package": {"name": "httpx", "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}

    class Database(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries = json.loads(self.rfile.read(int(self.headers["content-length"])))["queries"]
            known = [{"vulns": [{"id": "PYSEC-1"}]} if q["package"]["name"] == "httpx" else {} for q in queries]
            self._answer({"results": known})

        def do_GET(self) -> None:
            self._answer({"id": "PYSEC-1", "summary": "It leaks", "affected": [affected]})

        def _answer(self, content: Any) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def audit(url: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, ROOT / "bin" / "audit", url], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(("fixed", "code", "told"), [("99.0", 1, "mended in 99.0"), (None, 0, "not mended yet")])
def test_a_known_vulnerability_fails_the_build_if_it_can_be_mended(fixed: str | None, code: int, told: str) -> None:
    with osv(fixed) as url:
        returned, said = audit(url)

    assert returned == code
    assert "httpx" in said
    assert "PYSEC-1, It leaks" in said
    assert told in said


def test_without_a_network_the_audit_says_that_it_was_not_done() -> None:
    returned, said = audit("http://127.0.0.1:9")

    assert returned == 0
    assert said.startswith("audit: NOT DONE, http://127.0.0.1:9 cannot be asked")


def test_the_check_includes_the_audit() -> None:
    assert "bin/audit" in (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
