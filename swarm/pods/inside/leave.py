"""Ends this pod at its provider, with the key that the provider has given the pod for that.

    python -m swarm.pods.inside.leave [--keep-disk]

With --keep-disk it is stopped, and ended where the provider does not stop it: not where it only did not answer.

Exit code 0: the provider has said yes, or no longer knows the pod. 1: it has not, ask again. 3: this machine is not
rented by the pod, so there is nothing to end but the processes.
"""

import contextlib
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence

from swarm.pods.inside.home import Home
from swarm.pods.inside.told import home_of

TIMEOUT_S = 8.0
API = "https://api.runpod.io/v2"
NOT_RENTED = 3
_DONE = (200, 202, 204, 404, 410)
_ASK_AGAIN = (0, 408, 429)  # and whatever is the server's own fault: a no that may be a yes the next time
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key goes to the address that was meant and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        return None


def main(words: Sequence[str]) -> int:
    code = leave(os.environ, keep_disk="--keep-disk" in words)
    if code == 0:
        with contextlib.suppress(OSError):
            Home(home_of(os.environ)).left.touch()  # at once: the provider may end everything here before anybody asks
    return code


def leave(environment: Mapping[str, str], *, keep_disk: bool) -> int:
    """Asks once. Prints what came of it, without the key."""
    key, pod_id = environment.get("RUNPOD_API_KEY"), environment.get("RUNPOD_POD_ID")
    if not key or not pod_id:
        print("leave: no RUNPOD_API_KEY and RUNPOD_POD_ID: this machine is not rented by the pod")
        return NOT_RENTED
    base = environment.get("SWARM_RUNPOD_BASE_URL") or API
    address = urllib.parse.urlsplit(base)
    if address.scheme != "https" and address.hostname not in _LOOPBACK:
        print(f"leave: {base} is neither https nor on this machine, so the key is not sent there")
        return 1
    pod = f"{base.rstrip('/')}/pods/{urllib.parse.quote(pod_id, safe='')}"
    if keep_disk:
        status = _asked(f"{pod}/action", "POST", key, {"action": "stop"})
        if status in _DONE or status in _ASK_AGAIN or status >= 500:
            return 0 if status in _DONE else 1
    return 0 if _asked(pod, "DELETE", key) in _DONE else 1


def _asked(url: str, method: str, key: str, body: dict[str, str] | None = None) -> int:
    """The status of the answer, 0 without one."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Accept": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as problem:
        status = problem.code
        problem.close()
    except (OSError, ValueError) as problem:
        print(f"leave: {method} was not answered: {type(problem).__name__}")
        return 0
    print(f"leave: {method} was answered with {status}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
