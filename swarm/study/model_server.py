"""What can be seen to be wrong with a model server's configuration before anybody is asked. Pure."""

import re
from collections.abc import Mapping

from swarm.errors import UsageError
from swarm.study.settings import ProposerSettings


def check_server(model: str, base_url: str | None, key: str | None) -> None:
    """Raises UsageError naming the value and what it should be; no key is quoted."""
    if base_url is not None:
        _check_url(base_url)
    if any(ord(character) < 32 for character in model):
        raise UsageError(f"the model's name is {model!r}: it is one line of text")
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        what = "a line break" if "\n" in key or "\r" in key else "a blank or a letter outside of ASCII"
        raise UsageError(f"OPENAI_API_KEY has {what} inside, and cannot be sent: set it to the key alone")
    if key is not None and re.fullmatch(r"[\"'].*[\"']", key):
        raise UsageError("OPENAI_API_KEY has quotes around it: set it to the key alone")


def names_a_model(chosen: ProposerSettings, environ: Mapping[str, str]) -> bool:
    """Whether `auto` has a model to ask. A key in the environment alone may be there for something else."""
    server = environ.get("OPENAI_API_KEY") or environ.get("OPENAI_BASE_URL")
    model = chosen.model or environ.get("SWARM_MODEL")
    return chosen.base_url is not None or bool(server and model)


def tidy_url(url: str | None) -> str | None:
    """As a person copies it from a page: with blanks around it, or with the path of the call itself."""
    if url is None or not url.strip():
        return None
    return url.strip().rstrip("/").removesuffix("/chat/completions").rstrip("/")


def split_specs(spec: str) -> list[str]:
    """The models of openai:A@URL,openai:B@URL,cli:NAME; a comma that no proposer follows is a part of a name."""
    return re.split(r",(?=openai(?:[:,]|$)|cli:)", spec) if re.match(r"openai|cli:", spec) else [spec]


def split_model(text: str) -> tuple[str, str | None]:
    """(model, URL) of MODEL[@URL]. A model's name may hold an @ itself: a URL begins with http:// or https://."""
    found = re.fullmatch(r"(.*?)@(https?://.*)", text)
    if found:
        return found[1], found[2]
    model, _, last = text.rpartition("@")
    if model and re.match(r"(localhost|[\w.-]+:\d+|\d+\.\d+\.\d+\.\d+)(/|$)|[a-z][a-z0-9+.-]*://", last):
        raise UsageError(f"openai:{text} names a server without http:// or https://: write {model}@http://{last}")
    return text, None


def _check_url(url: str) -> None:
    if re.search(r"\s", url):
        raise UsageError(f"the model server's address is {url!r}: it has a blank inside")
    found = re.match(r"https?://(?:[^/@]*@)?(\[[0-9A-Fa-f:.]+\]|[^/:\[\]?#]+)(?::(\d{1,5}))?(?:[/?#]|$)", url)
    if found is None or int(found[2] or 1) not in range(1, 65_536):
        raise UsageError(
            f"the model server's address is {url!r}: it has the form http://HOST:PORT/v1 or https://HOST/v1. "
            "Check --base-url, OPENAI_BASE_URL, or what stands behind the @ of --proposer."
        )
