"""What `swarm doctor` asks of models and coding agents, in a process of the workers' own: the command line imports
neither."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import get_args

from swarm.cli.finding import Finding, Verdict


def asked(what: Sequence[str], limit_s: float) -> Iterator[Finding]:
    """The findings of `python -m workers.checking WHAT`."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workers.checking", *what],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    for line in done.stdout.splitlines():
        fields = json.loads(line)
        verdict: Verdict = fields["verdict"] if fields["verdict"] in get_args(Verdict) else "fail"
        yield Finding(fields["check"], verdict, fields["detail"])
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        yield Finding(what[0], "fail", said[-1])
