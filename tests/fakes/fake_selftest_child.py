"""Stands in for swarm/harness/selftest_child.py on a machine without a GPU: the same words, and nothing behind them.

FAKE_HELD_MIB: how much `overrun` gets before it runs out of memory; without a cap in its environment it gets it all.
FAKE_FACTS: what `compute` says, and FAKE_STDERR.
"""

import json
import os
import sys


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def main(what: str, *numbers: str) -> None:
    if what == "compute":
        sys.stderr.write(os.environ.get("FAKE_STDERR", ""))
        if facts := os.environ.get("FAKE_FACTS"):
            say(**json.loads(facts))
    elif what == "context":
        say(pid=os.getpid(), reserved_mib=2, torch="fake")
        sys.stdin.readline()
    elif what == "train":
        say(pid=os.getpid(), started=True)
        if float(numbers[0]) > 50:  # the one that is to be killed
            sys.stdin.readline()
        say(done=True, steps=100, steps_per_s=10.0, longest_pause_s=0.1)
    else:
        capped = "SELFTEST_FRACTION" in os.environ or "FAKE_HELD_MIB" in os.environ
        held = int(os.environ.get("FAKE_HELD_MIB", "960")) if capped else int(numbers[0])
        say(out_of_memory=held < int(numbers[0]), held_mib=held)


if __name__ == "__main__":
    main(*sys.argv[1:])
