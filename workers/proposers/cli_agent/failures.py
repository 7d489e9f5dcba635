"""Why a call of an agent came to nothing: by the status of its server that it names, how it ended and its exit code, in
this order. Its prose is read only where an agent gives none of them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workers.proposers.cli_agent.guard import Report
from workers.proposers.cli_agent.output import AgentOutput

Class = Literal["llm_auth", "llm_quota", "llm_config", "llm_rate_limited", "llm_timeout", "llm_failed"]
KEPT = 600  # characters of what it said

_STATUSES: Mapping[int, Class] = {
    401: "llm_auth",
    402: "llm_quota",
    403: "llm_auth",
    404: "llm_config",
    429: "llm_rate_limited",
}
# Of its own, and a server's status without what does not fit into eight bits.
_OF_GEMINI: Mapping[int, Class] = {41: "llm_auth", 42: "llm_config", 52: "llm_config"}
_EXIT_CODES: Mapping[str, Mapping[int, Class]] = {
    "jsonl:gemini": {**_OF_GEMINI, **{status % 256: code for status, code in _STATUSES.items()}},
}
_PROSE: tuple[tuple[Class, re.Pattern[str]], ...] = (
    (
        "llm_rate_limited",
        re.compile(r"(?i)rate.?limit|too many requests|\b429\b|usage limit|quota|resource.?exhausted"),
    ),
    (
        "llm_auth",
        re.compile(
            r"(?i)unauthori[sz]ed|\b40[13]\b|invalid.{0,9}api.?key|api.?key.{0,20}(missing|not (set|found))"
            r"|not logged in|please (log|sign) ?in|/login"
        ),
    ),
    (
        "llm_config",
        re.compile(r"(?i)unknown (option|argument)|(unexpected|unrecognized) arguments?|model.{0,80}not found"),
    ),
)
_REMEDIES: Mapping[Class, str] = {
    "llm_auth": "Sign in with it or set its key.",
    "llm_quota": "Its account has no money left there.",
    "llm_config": "Check the model's name and, with `swarm doctor --agents`, its arguments.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    code: Class
    reason: str
    remedy: str = ""


def failure_of(kind: str, report: Report, output: AgentOutput, stderr: str, deadline_s: float) -> Failure | None:
    """None when it ended by itself and names no error. `kind` is the `output` of its table."""
    how = _how(report, output, deadline_s)
    if how is None:
        return None
    hung = kind.startswith("jsonl:") and report.ended == "deadline" and output.status is None
    error = "" if hung else " ".join((output.error or "").split())  # its output is cut off, and no error of its own
    beside = "" if _says_it_itself(kind, report, output) else _without_stack(stderr)
    code = _class_of(kind, report, output, f"{error} {beside}")
    words = f"{error} {beside[-max(0, KEPT - len(error)) :]}".strip()[:KEPT]
    return Failure(code, f"{how}: {words}" if words else how, _REMEDIES.get(code, ""))


def _how(report: Report, output: AgentOutput, deadline_s: float) -> str | None:
    match report.ended:
        case "deadline":
            return f"was stopped after {deadline_s:g} s"
        case "too_much_output":
            return "printed too much and was stopped"
        case "retrying":
            return "was stopped, since it kept asking a server that refused it"
        case "stopped":
            return f"was stopped {report.detail}".strip()
    if report.exit_code != 0:
        return f"ended with exit code {report.exit_code}"
    return "failed" if output.error is not None else None


def _class_of(kind: str, report: Report, output: AgentOutput, words: str) -> Class:
    if output.status is not None:
        by_status = _STATUSES.get(output.status)
        if by_status is not None:
            return by_status
    if report.ended == "deadline":
        return "llm_timeout"
    if report.ended not in ("exit", "retrying") or output.status is not None:
        return "llm_failed"
    by_code = _EXIT_CODES.get(kind, {}).get(report.exit_code or 0)
    if by_code is not None:
        return by_code
    return next((code for code, pattern in _PROSE if pattern.search(words)), "llm_failed")


def _says_it_itself(kind: str, report: Report, output: AgentOutput) -> bool:
    """So that nothing else is read for it. What hung has said nothing of why."""
    if kind.startswith("jsonl:") and report.ended == "deadline":
        return True
    return output.error is not None and (output.status is not None or kind == "text:aider")


def _without_stack(stderr: str) -> str:
    """The last of it on one line. The frames of a stack in JavaScript come after the message and would push it out."""
    lines = (line.strip() for line in stderr[-8000:].split("\n"))
    return " ".join(" ".join(line for line in lines if not line.startswith("at ")).split())[-2000:]
