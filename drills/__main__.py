"""`make drill`: run the drills named by their numbers, or all. Exit code 1 when one fails."""

from __future__ import annotations

import argparse
import sys
import time
from types import ModuleType

from support.stack import Stack

from drills import DRILLS


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make drill", description="The runbook's five Common Issues, caused and cured."
    )
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="which; without one, all")
    numbers = parser.parse_args().numbers
    if unknown := set(numbers) - {drill.NUMBER for drill in DRILLS}:
        parser.error(f"there is no drill {unknown.pop()}: they are {', '.join(str(drill.NUMBER) for drill in DRILLS)}")
    chosen = [drill for drill in DRILLS if not numbers or drill.NUMBER in numbers]
    print("Starting PostgreSQL, Valkey, two engines, two workers ...", file=sys.stderr)
    with Stack() as stack:
        passed = [drilled(stack, drill) for drill in chosen]
    sys.exit(0 if all(passed) else 1)


def drilled(stack: Stack, drill: ModuleType) -> bool:
    """Run one drill and print its verdict; returns whether it passed."""
    begun = time.monotonic()
    try:
        finding = drill.run(stack)
        verdict = f"PASS  seen: {', '.join(finding.seen)}  cured by: {', '.join(finding.cured_by)}"
        passed = True
    except Exception as error:  # whatever it is, the other drills are run
        verdict, passed = f"FAIL  {type(error).__name__}: {error}", False
    print(f"drill {drill.NUMBER} {drill.TITLE}: {verdict}  {time.monotonic() - begun:.0f} s", flush=True)
    stack.reset()
    return passed


if __name__ == "__main__":
    main()
