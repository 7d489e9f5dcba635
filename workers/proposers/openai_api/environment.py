"""What a person sets about a model and its server, out of flags, variables and secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarm.errors import UsageError
from swarm.study.model_server import check_server, tidy_url
from workers.proposers.openai_api.rules import Mode
from workers.render import DEFAULT_MAX_TOKENS


@dataclass(frozen=True)
class Choice:
    """`max_prompt_tokens` by our estimate; `max_output_tokens` None: the server's own limit."""

    model: str
    base_url: str | None = None
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "envelope"
    max_prompt_tokens: int = DEFAULT_MAX_TOKENS
    max_output_tokens: int | None = None


def chosen(
    secrets: Mapping[str, str], environ: Mapping[str, str], *, model: str | None, base_url: str | None
) -> Choice:
    """Flags win over SWARM_MODEL and OPENAI_BASE_URL. Raises UsageError."""
    name, mode = (model or environ.get("SWARM_MODEL") or "").strip(), environ.get("SWARM_LLM_MODE", "envelope")
    if not name:
        raise UsageError("no model: give --proposer openai:MODEL or set SWARM_MODEL")
    if mode not in ("envelope", "schema"):
        raise UsageError(f"SWARM_LLM_MODE is {mode!r}: it may be envelope or schema")
    url = tidy_url(base_url or environ.get("OPENAI_BASE_URL"))
    key = secrets.get("OPENAI_API_KEY", "").strip() or None
    check_server(name, url, key)
    return Choice(
        model=name,
        base_url=url,
        key=key,
        headers=_headers(secrets.get("OPENAI_CUSTOM_HEADERS", "")),
        mode="schema" if mode == "schema" else "envelope",
        max_prompt_tokens=_tokens(environ, "SWARM_LLM_MAX_PROMPT") or DEFAULT_MAX_TOKENS,
        max_output_tokens=_tokens(environ, "SWARM_LLM_MAX_OUTPUT"),
    )


def _tokens(environ: Mapping[str, str], name: str) -> int | None:
    value = environ.get(name)
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise UsageError(f"{name} is {value!r}: it is a number of tokens, at least 1")
    return int(value)


def _headers(lines: str) -> dict[str, str]:
    """`Name: value` a line, as the SDK reads them; taken from it because a gateway's header may be a secret."""
    pairs = (line.partition(":") for line in lines.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}
