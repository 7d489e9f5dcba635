"""Where a notice goes: a web address whose path is a key. It is held here and shown nowhere."""

import base64
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from swarm.errors import UsageError

Form = Literal["slack", "discord", "ntfy", "json"]
_HOSTS: dict[str, Form] = {
    "hooks.slack.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ntfy.sh": "ntfy",
}
_FORMS: tuple[Form, ...] = ("slack", "discord", "ntfy", "json")


@dataclass(frozen=True)
class Address:
    """`name` is all of it that may be written; `url` and `authorization` are secrets and in no repr."""

    form: Form
    name: str
    url: str = field(repr=False)
    authorization: str | None = field(default=None, repr=False)


def parse_address(text: str) -> Address:
    """From https://..., or with its form before it: slack+https://..., discord+, ntfy+, json+.

    Raises UsageError, which says nothing of the address but what kind of thing is wrong with it.
    """
    prefix, plus, rest = text.strip().partition("+")
    named = next((form for form in _FORMS if plus and form == prefix), None)
    try:
        parts = urlsplit(rest if named else text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("--notify is no web address (it is not shown here, since it may hold a key)") from None
    if parts.scheme not in ("http", "https") or not host or any(char <= " " or char > "~" for char in text.strip()):
        raise UsageError(
            "--notify is not an address that begins with https:// or http://, or with slack+, discord+, ntfy+ or json+ "
            "before that (it is not shown here, since it may hold a key)"
        )
    bare = f"[{host}]" if ":" in host else host
    where = bare if port is None else f"{bare}:{port}"
    form = named or _HOSTS.get(host, "json")
    if form == "ntfy" and not parts.path.strip("/"):
        raise UsageError("--notify names an ntfy server without a topic: https://HOST/TOPIC")
    return Address(
        form=form,
        name=f"{form} at {where}",
        url=urlunsplit((parts.scheme, where, parts.path or "/", parts.query, "")),
        authorization=_basic(parts.username, parts.password),
    )


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
