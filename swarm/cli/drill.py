"""`swarm drill`: inject faults on this machine and say which promises held."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

from swarm.cli import flags


def drill(as_json: flags.Json = False) -> int:
    """Try the promises on this machine: kills, hangs, a full disk, lies, dead servers. A minute, no GPU, no key.

    Everything happens in a throw-away folder. Exit code 0 only when every promise held.
    """
    from rich.console import Console
    from rich.markup import escape

    from swarm.drill import run

    console, began = Console(stderr=as_json), time.monotonic()
    findings = []

    def show(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with console.status("it takes about a minute") as status, _ended_as_by_ctrl_c():

        def begin(scene: str) -> None:
            status.update(f"trying {scene}")  # a moving line on a terminal, nothing in a pipe
            show(f"[dim]{escape(scene)}, after {time.monotonic() - began:.0f} s[/]")

        with closing(run(begin=begin)) as tried:  # after Ctrl-C too, what runs is ended and its folder removed
            for finding in tried:
                findings.append(finding)
                show(f"{'[green]pass[/]' if finding.ok else '[bold red]FAIL[/]'}  {escape(finding.promise)}")
                show(f"[dim]      {escape(finding.seen)}[/]")
    red, took = sum(not finding.ok for finding in findings), time.monotonic() - began
    show(f"{len(findings) - red} of {len(findings)} promises held, {took:.0f} s")
    if as_json:
        answer = {"schema_version": 1, "ok": red == 0, "seconds": round(took, 1)}
        print(json.dumps({**answer, "promises": [asdict(finding) for finding in findings]}))
    return 0 if red == 0 else 1


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, as of `timeout`, leaves nothing behind either."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
