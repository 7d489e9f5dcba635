"""`swarm drill`: inject faults on this machine and say which promises held."""

import json
import time
from contextlib import closing
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
    with console.status("") as status:  # a moving line on a terminal, nothing in a pipe
        tried = run(begin=lambda scene: status.update(f"trying: {scene}"))
        with closing(tried):  # after Ctrl-C too: what runs is ended and its folder removed before we go
            for finding in tried:
                findings.append(finding)
                mark = "[green]pass[/]" if finding.ok else "[bold red]FAIL[/]"
                console.print(f"{mark}  {escape(finding.promise)}", highlight=False, soft_wrap=True)
                console.print(f"      {escape(finding.seen)}", style="dim", highlight=False, soft_wrap=True)
    red, took = sum(not finding.ok for finding in findings), time.monotonic() - began
    console.print(f"{len(findings) - red} of {len(findings)} promises held, {took:.0f} s", highlight=False)
    if as_json:
        print(
            json.dumps(
                {
                    "schema_version": 1,
                    "ok": red == 0,
                    "seconds": round(took, 1),
                    "promises": [asdict(finding) for finding in findings],
                }
            )
        )
    return 0 if red == 0 else 1
