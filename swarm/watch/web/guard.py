"""Who may see the page and who may press its buttons. Every request is asked, before anything else is looked at.

The token stands in the address that `swarm watch --web` prints. There is no cookie: nothing that a browser sends by
itself lets another site's page read or press anything. A button needs the token in a header of our own as well, which
no other site can set without being asked, and an origin that is ours. The name of the host is checked, so that a name
that somebody points at this machine (DNS rebinding) reaches nothing.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

OUR_HOSTS = frozenset({"127.0.0.1", "localhost"})
TOKEN_HEADER = "x-swarm-token"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refusal(token: str, method: str, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Why this request is refused; None when it may pass. `headers` by lower-case names."""
    host = headers.get("host", "")
    if _host_of(f"//{host}") not in OUR_HOSTS:
        return "this page answers to 127.0.0.1 and localhost only"
    if method not in ("GET", "HEAD", "POST"):
        return "there is nothing to be done in this way"
    given = headers.get(TOKEN_HEADER, "") if method == "POST" else query.get("token", "")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return "the token is missing or wrong: open the address that `swarm watch --web` printed"
    origin = headers.get("origin")
    if method == "POST" and origin is not None and origin != f"http://{host}":
        return "this came from another site's page"
    return None


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
