"""`python -m benchmarks`: runs all groups on one server, prints their tables and writes them as JSON."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import dashboard, growth, held_open, http, large, latency, peers, throughput, waiting
from benchmarks.profiles import PROFILES, Profile
from benchmarks.report import Grid, Table, machine, write_json
from benchmarks.server import Server, open_server

_Measure = Callable[[Server, Profile], Sequence[Table | Grid]]
_GROUPS: Mapping[str, _Measure] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "http": http.measure,
    "growth": growth.measure,
    "large": large.measure,
    "waiting": waiting.measure,
    "held_open": held_open.measure,
    "dashboard": dashboard.measure,
}
_PEERS: Mapping[str, _Measure] = {"dbos": peers.measure_dbos}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="short")
    parser.add_argument("--only", choices=_GROUPS, action="append", help="run this group only; repeatable")
    parser.add_argument("--peers", choices=_PEERS, action="append", default=[], help="compare with this one, too")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the figures go")
    options = parser.parse_args()

    begin = time.monotonic()
    tables: list[Table | Grid] = []
    with open_server() as server:
        about = {
            "profile": options.profile,
            "server": server.description,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            **machine(),
        }
        print(f"{server.description}; {about['cores']} cores, Python {about['python']}; profile {options.profile}")
        print(f"Load average of the machine before: {about['load_before']}")
        print("Figures are medians with their range; ratios are within this run.", flush=True)
        groups = [_GROUPS[name] for name in options.only or ([] if options.peers else _GROUPS)]
        groups += [_PEERS[name] for name in options.peers]
        for measure in groups:
            for table in measure(server, PROFILES[options.profile]):
                table.print()
                tables.append(table)
    write_json(options.json, tables, about)
    print(f"\n{time.monotonic() - begin:.0f} s; written to {options.json}")


if __name__ == "__main__":
    main()
