"""Switches each safeguard off in turn and expects a test to turn red.

    python tests/mutants/run.py [--only NAME ...] [--fast] [--jobs N] [--list]

The rows are in `mutants/rows/`, one file a room. First all tests of the chosen rows run on the program as it is: they
have to be green. Then, for each row, its switch is applied to a copy of the tree and its own tests run there. A row
whose tests stay green is an error: somebody could remove that safeguard and nobody would notice.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutants.attempt import Attempt, Outcome
from mutants.copies import Copy
from mutants.safeguard import Safeguard, StaleSwitch
from mutants.table import SAFEGUARDS

_POLL_S = 0.02
_SHOWN_TESTS = 2


@dataclass(frozen=True)
class Task:
    """Tests to run, with a safeguard off or, without one, on the program as it is."""

    tests: tuple[str, ...]
    off: Safeguard | None = None


def main() -> int:
    options = _options()
    chosen = [row for row in SAFEGUARDS if _is_chosen(row, options)]
    if options.list or not chosen:
        print("\n".join(f"{row.name:36} {row.what}" for row in chosen) or "no safeguard has such a name")
        return 0 if chosen else 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="swarm-mutants-") as folder:
        copies = list(_copies(Path(folder), options.jobs))
        if wrong := red_as_it_is(chosen, copies):
            print("Red on the program as it is, so that nothing can be told:", *wrong, sep="\n  ")
            return 1
        unnoticed = [row.name for row, noticed in switched_off(chosen, copies) if not noticed]
    print(f"{len(chosen)} safeguards, {len(chosen) - len(unnoticed)} noticed, {time.monotonic() - started:.0f} s")
    if unnoticed:
        print(f"NOT NOTICED: {', '.join(unnoticed)}. Each needs a test that fails without it.")
    return 1 if unnoticed else 0


def red_as_it_is(rows: Sequence[Safeguard], copies: Sequence[Copy]) -> list[str]:
    """Tests of these rows that fail, twice, with nothing switched off."""
    files: dict[str, set[str]] = {}
    for row in rows:
        for test in row.tests:
            files.setdefault(test.partition("::")[0], set()).add(test)
    tasks, wrong = [Task(tuple(sorted(tests))) for tests in files.values()], []
    for _ in range(2):
        outcomes = [outcome for _, outcome in carried_out(tasks, copies)]
        wrong = [outcome.broken for outcome in outcomes if outcome.broken]
        failed = [test for outcome in outcomes for test in outcome.failed]
        if wrong or not failed:
            return wrong
        tasks = [Task((test,)) for test in failed]
    return failed


def switched_off(rows: Sequence[Safeguard], copies: Sequence[Copy]) -> Iterator[tuple[Safeguard, bool]]:
    """Each row with whether it was noticed; prints a line for it."""
    for task, outcome in carried_out([Task(row.tests, row) for row in rows], copies):
        assert task.off is not None
        noticed, said = _judged(outcome)
        print(f"{task.off.name:36} {outcome.seconds:5.1f} s  {said}", flush=True)
        yield task.off, noticed


def _judged(outcome: Outcome) -> tuple[bool, str]:
    """Whether a test noticed, or none can run on this machine; and the words for it."""
    ran = len(outcome.failed) + len(outcome.passed)
    if outcome.broken:
        return False, f"THE TESTS CANNOT RUN: {outcome.broken}"
    if not ran:
        return True, f"not tried: all {len(outcome.skipped)} tests are skipped on this machine"
    if not outcome.failed:
        return False, f"NOT NOTICED by {ran} tests"
    shown = ", ".join(_without_folder(name) for name in outcome.failed[:_SHOWN_TESTS])
    more = len(outcome.failed) - _SHOWN_TESTS
    return True, f"{len(outcome.failed)} of {ran}: {shown}{f' and {more} more' if more > 0 else ''}"


def _without_folder(test: str) -> str:
    file, colons, name = test.partition("::")
    return f"{Path(file).name}{colons}{name}"


def carried_out(tasks: Iterable[Task], copies: Sequence[Copy]) -> Iterator[tuple[Task, Outcome]]:
    """The tasks with their outcomes as they end, one at a time in each copy."""
    waiting, free = list(tasks)[::-1], list(copies)
    running: list[tuple[Task, Copy, Attempt]] = []
    while waiting or running:
        while waiting and free:
            task, copy = waiting.pop(), free.pop()
            try:
                if task.off is not None:
                    copy.switch_off(task.off)
            except StaleSwitch as stale:
                free.append(copy)
                yield task, Outcome(broken=str(stale))
                continue
            running.append((task, copy, Attempt(copy.folder, task.tests, copy.folder.with_suffix(".report"))))
        time.sleep(_POLL_S)
        for one in list(running):
            task, copy, attempt = one
            if (outcome := attempt.poll()) is not None:
                running.remove(one)
                copy.restore()
                free.append(copy)
                yield task, outcome


def _copies(folder: Path, count: int) -> Iterator[Copy]:
    for number in range(count):
        (place := folder / f"copy{number}").mkdir()
        yield Copy(place)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="rows whose name contains this")
    parser.add_argument("--fast", action="store_true", help="the rows that `make test` runs, seconds in all")
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    return parser.parse_args()


def _is_chosen(row: Safeguard, options: argparse.Namespace) -> bool:
    named = options.only is None or any(part in row.name for part in options.only)
    return named and (row.fast or not options.fast)


if __name__ == "__main__":
    sys.exit(main())
