"""`python -m workers.checking call SPEC` and `... agents`: what only a worker can check before a night, one JSON line a
finding.

Started by `swarm doctor`, which may import nothing of ours.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from swarm.clock import Clock, SystemClock
from swarm.errors import SwarmError, UsageError
from swarm.records import one_line
from swarm.study.model_server import split_model
from workers.agent_check.check import check_agents
from workers.arms import OWN_AGENTS
from workers.proposers import ProposalFailed
from workers.proposers.breaker import Breaker
from workers.proposers.cli_agent import load_agents
from workers.proposers.openai_api.caller import Caller, CutOff, Turn
from workers.proposers.openai_api.environment import chosen
from workers.proposers.openai_api.rules import RuleBook, Rules
from workers.proposers.openai_api.server import Message, Server
from workers.proposers.spending import SpendLimit
from workers.proposers.transcript import Transcripts
from workers.redact import Redactor, take_secrets

Finding = Mapping[str, str]
CALL_S = 120.0
QUESTION: tuple[Message, ...] = (
    {"role": "system", "content": "You are asked whether you can be reached. Answer with one word."},
    {"role": "user", "content": "Answer with the word ready."},
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.checking", description=__doc__)
    parser.add_argument("what", choices=("call", "agents"))
    parser.add_argument("spec", nargs="?", default="openai", help="openai[:MODEL[@URL]]")
    arguments = parser.parse_args()
    secrets = take_secrets()
    clock = SystemClock()
    asked = call(arguments.spec, secrets, os.environ, clock) if arguments.what == "call" else agents(os.environ, clock)
    for finding in asked:
        print(json.dumps(finding), flush=True)
    return 0


def agents(environ: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    """Each coding agent that is installed, asked through a scripted model on loopback: no key, no money."""
    own = environ.get(OWN_AGENTS)
    try:
        yield from check_agents(load_agents(Path(own) if own else None), environ, clock)
    except SwarmError as error:
        yield {"check": "coding agents", "verdict": "fail", "detail": str(error)}


def call(spec: str, secrets: Mapping[str, str], environ: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    """One real call, with what had to be learnt for it. It costs what the server takes for it."""
    check = "language model, one call"
    try:
        yield {"check": check, "verdict": "ok", "detail": _asked(spec, secrets, environ, clock)}
    except ProposalFailed as failure:
        rest = f" It would be asked again after {failure.cooldown_s:.0f} s." if failure.cooldown_s else ""
        yield {"check": check, "verdict": "fail", "detail": f"{failure.code}: {failure.detail}.{rest}"}
    except SwarmError as error:
        yield {"check": check, "verdict": "fail", "detail": str(error)}


def _asked(spec: str, secrets: Mapping[str, str], environ: Mapping[str, str], clock: Clock) -> str:
    kind, _, rest = spec.partition(":")
    if kind != "openai":
        raise UsageError(f"--call asks a model by its server, openai[:MODEL[@URL]], and not {spec!r}")
    model, url = split_model(rest)
    choice = chosen(secrets, environ, model=model or None, base_url=url)
    if choice.base_url is None and choice.key is None:
        raise UsageError("no key for api.openai.com: set OPENAI_API_KEY, or OPENAI_BASE_URL for another server")
    redact = Redactor([choice.key or "", *choice.headers.values()])
    rulebook = RuleBook(None, choice.base_url, choice.model)
    caller = Caller(
        server=Server(choice.base_url, choice.key, choice.model, clock, redact, choice.headers),
        rulebook=rulebook,
        clock=clock,
        redact=redact,
        transcripts=Transcripts(None, redact),
        spend_limit=SpendLimit(),
        breaker=Breaker(clock),
    )
    started = clock.monotonic()
    turn = Turn(started, CALL_S)
    try:
        answer = one_line(caller.ask(turn, QUESTION).text, 60)
    except CutOff as cut:
        answer = f"an answer that was cut off ({cut.detail})"
    usage = turn.usages[-1]
    tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens" if usage.input_tokens else "no count of tokens"
    price = f", {usage.usd:.6f} USD" if usage.usd is not None else ", price unknown"
    taken = f"{clock.monotonic() - started:.1f} s, {tokens}{price}{_wants(rulebook.rules)}"
    return f"{choice.model} at {caller.where} answered {answer!r} after {taken}"


def _wants(rules: Rules) -> str:
    """What the server wants otherwise than it is asked at first."""
    usual = Rules().model_dump()
    other = {name: value for name, value in rules.model_dump().items() if value != usual[name]}
    said = ", ".join(f"{name} {value}" for name, value in other.items())
    return f"; it wants {said}" if said else ""


if __name__ == "__main__":
    sys.exit(main())
