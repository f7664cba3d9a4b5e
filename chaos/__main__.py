"""`make chaos`: run it once and write the report. Exit code 1 when something must not be as it was found."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import traceback
from pathlib import Path

from chaos import report
from chaos.faults import FAULTS
from chaos.run import Options, run
from workflow_engine.embedded.places import temporary_data_directory


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description="Faults under load, and what is then still true.")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults are inflicted")
    parser.add_argument("--seed", type=int, default=None, help="which run; without one, any")
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=4.0, help="workflows started per second")
    parser.add_argument("--fault", action="append", default=[], choices=list(FAULTS), help="only these; repeatable")
    parser.add_argument("--report", type=Path, default=Path("build/chaos"), help="where the report goes")
    parser.add_argument("--keep", action="store_true", help="keep data and logs, also of a run that passed")
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    options = Options(seed, given.minutes, given.engines, given.workers, given.rate, tuple(given.fault))
    directory = temporary_data_directory()
    print(f"seed {seed}, {given.minutes:g} minutes; data and logs in {directory}", flush=True)
    passed = False
    try:
        result = asyncio.run(run(options, directory))
        passed = result.passed
        page = report.write(result, given.report / f"seed-{seed}")
        print(f"\n{page.read_text()}\nwritten to {page}")
    except Exception:  # the logs are what tells why
        traceback.print_exc()
    if passed and not given.keep:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"data and logs are kept in {directory}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
