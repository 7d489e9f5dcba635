"""A notice as each service wants it: an address and a JSON body. Pure.

What proposals say is quoted for the service that shows it: it can mention nobody, link nowhere and format nothing.
"""

import json
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from swarm.notify.address import Address
from swarm.notify.notices import Kind, Notice

SCHEMA_VERSION = 1
MAX_DISCORD = 1900
_DISCORD_MARKS = re.compile(r"([\\*_~`|>\[\]()#:<@])")
_NTFY_TAGS: dict[Kind, str] = {
    "leader": "chart_with_downwards_trend",
    "finals": "checkered_flag",
    "stopped": "stop_sign",
    "person": "warning",
    "spend": "moneybag",
}
_URGENT: frozenset[Kind] = frozenset({"person"})


@dataclass(frozen=True)
class Message:
    """`url` is as secret as the address that it comes from."""

    url: str = field(repr=False)
    body: bytes


def message(address: Address, notice: Notice) -> Message:
    match address.form:
        case "slack":
            return _message(address.url, {"text": _slack(f"{notice.title}\n{notice.text}")})
        case "discord":
            content = f"**{_discord(notice.title)}**\n{_discord(notice.text)}"
            # No mention is followed, whatever the text says, and no link is previewed (flag 4).
            return _message(
                address.url, {"content": content[:MAX_DISCORD], "allowed_mentions": {"parse": []}, "flags": 4}
            )
        case "ntfy":
            return _ntfy(address.url, notice)
        case "json":
            return _message(address.url, event(notice))


def event(notice: Notice) -> dict[str, object]:
    """For a webhook of one's own, and for the input of a command."""
    return {
        "schema_version": SCHEMA_VERSION,
        "event": notice.kind,
        "id": f"{notice.study_id}/{notice.id}",
        "study_id": notice.study_id,
        "at": notice.at,
        "title": notice.title,
        "text": notice.text,
        **notice.fields,
    }


def _ntfy(url: str, notice: Notice) -> Message:
    """Published as JSON to the server's root: nothing of a notice gets into a header."""
    parts = urlsplit(url)
    folder, _, topic = parts.path.rstrip("/").rpartition("/")
    fields: dict[str, object] = {
        "topic": unquote(topic),
        "title": notice.title,
        "message": notice.text,
        "tags": [_NTFY_TAGS[notice.kind]],
        "priority": 5 if notice.kind in _URGENT else 3,
    }
    return _message(urlunsplit((parts.scheme, parts.netloc, f"{folder}/", parts.query, "")), fields)


def _message(url: str, fields: dict[str, object]) -> Message:
    return Message(url, json.dumps(fields).encode())


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _discord(text: str) -> str:
    return _DISCORD_MARKS.sub(r"\\\1", text)
