"""An order from the command line, for a machine that somebody else has rented: docker, dstack, SkyPilot, a friend's.

python -m swarm.pods.entry --repository URL --hours 8 [--push-to URL] -- WORDS OF swarm up
"""

import argparse
import json
import socket
import subprocess
from collections.abc import Sequence

from swarm.pods.inside.home import Home
from swarm.pods.inside.told import BadOrder

_LIMIT_S = 60.0


def order_text(words: Sequence[str], home: Home, now: float) -> str:
    """The order as JSON. The one of the first start holds for all restarts, so that they give no time. Raises BadOrder;
    a wrong flag ends the process with exit code 2, as everywhere."""
    kept = home.root / "pod_order.json"
    if kept.exists():
        return kept.read_text(encoding="utf-8")
    ours, _, up = _parted(words)
    given = _parser().parse_args(ours)
    lifetime_s = given.hours * 3600
    order = {
        "pod_name": f"swarm-{socket.gethostname().lower()}",
        "source": {"kind": "repository", "url": given.repository, "commit": given.commit or _head(given.repository)},
        "up": list(up),
        **{"issued_at": now, "deadline_at": now + lifetime_s, "lifetime_s": lifetime_s},
        **{"price_usd_h": given.price, "max_usd": given.max_usd, "idle_s": given.idle_min * 60},
        "sync": {"kind": "git", "url": given.push_to} if given.push_to else {"kind": "pull"},
        "collect_wait_s": 0.0,  # nobody fetches: results lie on the volume, or were pushed
    }
    text = json.dumps(order)
    draft = kept.with_suffix(".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(kept)
    return text


def _parted(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    found = list(words).index("--") if "--" in words else len(words)
    return list(words[:found]), "--", list(words[found + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swarm.pods.entry", description="A study on this machine, with a watchdog.")
    parser.add_argument("--repository", required=True, help="a URL, or a folder of this machine; what is committed")
    parser.add_argument("--commit", help="the full id; default: the repository's HEAD")
    parser.add_argument("--hours", type=float, default=8.0, help="all is over after so many")
    parser.add_argument("--price", type=float, default=0.0, help="USD an hour, for --max-usd")
    parser.add_argument("--max-usd", type=float, default=1e9)
    parser.add_argument("--idle-min", type=float, default=30.0, help="ends when nothing happened for so long")
    parser.add_argument("--push-to", help="a git remote for the results")
    return parser


def _head(repository: str) -> str:
    if repository.startswith("-"):
        raise BadOrder(f"--repository {repository!r} is no address of a repository")
    command = ["git", "-c", "protocol.ext.allow=never", "ls-remote", "--", repository, "HEAD"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as problem:
        raise BadOrder(f"--repository {repository}: its HEAD cannot be read: {problem}") from None
    if not said:
        raise BadOrder(f"--repository {repository} has no commit")
    return said.split()[0]
