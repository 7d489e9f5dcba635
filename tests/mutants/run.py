"""Switches each safeguard off in turn and expects a test to turn red.

    python tests/mutants/run.py [--only NAME ...] [--fast] [--jobs N] [--list]

The rows are in `mutants/rows/`, one file a room. First all tests of the chosen rows run on the program as it is: they
have to be green (with --fast they just were, in the default tests). Then, for each row, its switch is applied to a copy
of the tree and its own tests run there. A row whose tests stay green is an error: somebody could remove that safeguard
and nobody would notice.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutants.attempt import Attempt, Outcome
from mutants.copies import Copy
from mutants.safeguard import Safeguard, StaleSwitch
from mutants.table import FAST, SAFEGUARDS

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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the folder goes, and with this process all that runs
    started = time.monotonic()
    with _folder() as folder:
        copies = list(_copies(folder, options.jobs))
        red = {} if options.fast else red_as_it_is(chosen, copies)
        for test, why in red.items():
            print(f"RED AS IT IS: {test} {why}".rstrip())
        untold = [row for row in chosen if any(test in red for test in row.tests)]
        unnoticed = [
            row for row, noticed in switched_off([row for row in chosen if row not in untold], copies) if not noticed
        ]
    left = len(chosen) - len(untold) - len(unnoticed)
    print(f"{len(chosen)} safeguards, {left} noticed, {time.monotonic() - started:.0f} s")
    for rows, what in ((unnoticed, "NOT NOTICED"), (untold, "NOT TRIED, their tests are red as it is")):
        if rows:
            print(f"{what}: {', '.join(row.name for row in rows)}")
    return 1 if unnoticed or untold else 0


def red_as_it_is(rows: Sequence[Safeguard], copies: Sequence[Copy]) -> dict[str, str]:
    """Tests of these rows that fail, twice, with nothing switched off, each as its row names it."""
    named = sorted({test for row in rows for test in row.tests})
    files: dict[str, list[str]] = {}
    for test in named:
        files.setdefault(test.partition("::")[0], []).append(test)
    again: list[Task] = []
    for task, outcome in carried_out([Task(tuple(tests)) for tests in files.values()], copies):
        failed = {test for test in task.tests for name in outcome.failed if name.startswith(test)}
        again += [Task((test,)) for test in (task.tests if outcome.broken else sorted(failed))]
    outcomes = carried_out(again, copies)
    return {task.tests[0]: outcome.broken for task, outcome in outcomes if outcome.failed or outcome.broken}


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


@contextmanager
def _folder() -> Iterator[Path]:
    """Removed whatever the tests have left in it: folders too deep for Python, too."""
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        yield folder
    finally:
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False)


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
    return named and (row.name in FAST or not options.fast)


if __name__ == "__main__":
    sys.exit(main())
