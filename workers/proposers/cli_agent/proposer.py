"""A coding agent as a patch author: one call, one edited file, one proposal.

The agent gets a scratch copy with the one editable file and the briefing as its prompt. It can run what it likes there
and nothing of it counts but that file's text afterwards: the swarm commits, trains and judges. Its claim of success is
not believed, an unchanged file is `no_change`, every other file is deleted and counted.

ProposalFailed codes: `no_change`, `outside_write` (nothing but an attempt elsewhere), `llm_failed`, `llm_timeout`,
`llm_rate_limited`, `llm_quota`, `llm_auth` and `llm_config` (refused), `llm_budget` (a ceiling of ours).

An agent writes in its folder and its home alone, where the kernel has Landlock (`swarm.sandbox.writes`).

Not promised: a wall against reading. It runs as the user, with the network, and most agents bring a sandbox of their
own; a program that reads elsewhere on purpose is stopped by that sandbox or not at all.
"""

from collections.abc import Mapping
from pathlib import Path

from swarm.clock import Clock, SystemClock
from swarm.errors import UsageError
from swarm.records import Proposal, Usage, one_line
from swarm.sandbox.landlock import can_restrict_writing
from workers.briefing import Briefing
from workers.proposers import ProposalFailed
from workers.proposers.breaker import Breaker
from workers.proposers.cli_agent.agents import AgentSpec, load_agents
from workers.proposers.cli_agent.failures import failure_of
from workers.proposers.cli_agent.output import AgentOutput, read_output
from workers.proposers.cli_agent.process import GRACE_S, Ran, run_agent
from workers.proposers.cli_agent.workspace import Workspace, make_home, open_workspace
from workers.proposers.edits import EditFailed
from workers.proposers.reply import Draft, checked, parse_header, prompt_for, to_proposal
from workers.proposers.spending import SpendLimit
from workers.proposers.transcript import Transcripts
from workers.redact import MIN_SECRET, Redactor
from workers.render import DEFAULT_MAX_TOKENS

EXPECTED_TOKENS = 20_000  # of one call of an agent, for the ceilings before it
RESTS_S = {"llm_rate_limited": 900.0, "llm_quota": 3600.0}
IDLE_LIMIT = 3  # calls in a row that changed nothing, before a rest
IDLE_REST_S = 300.0


class CliAgentProposer:
    """One agent. `scratch` is a folder of this worker's own, outside any place that matters.

    `variables` are the environment and the secrets that may be passed on; which of them the agent sees is said in its
    table. `deadline_s` bounds one call. `strays` counts the files that agents left beside theirs.
    """

    def __init__(
        self,
        agent: str,
        spec: AgentSpec,
        *,
        scratch: Path,
        variables: Mapping[str, str],
        model: str | None = None,
        clock: Clock | None = None,
        deadline_s: float = 300.0,
        grace_s: float = GRACE_S,
        spend_limit: SpendLimit | None = None,
        breaker: Breaker | None = None,
        transcripts: Path | None = None,
        max_prompt_tokens: int = DEFAULT_MAX_TOKENS,
    ) -> None:
        self._agent = agent
        self._spec = spec
        self._scratch = scratch
        self._variables = dict(variables)
        self._model = model
        self._clock = clock or SystemClock()
        self._deadline_s = deadline_s
        self._grace_s = grace_s
        self._spend_limit = spend_limit or SpendLimit()
        self._breaker = breaker or Breaker(self._clock)
        self._idle = Breaker(self._clock, failures=IDLE_LIMIT, cooldown_s=IDLE_REST_S)
        self._redact = Redactor(_secrets(spec, variables))
        self._transcripts = Transcripts(transcripts, self._redact)
        self._max_prompt_tokens = max_prompt_tokens
        self._last_usd: float | None = None
        self.strays = 0

    @classmethod
    def named(
        cls,
        name: str,
        *,
        secrets: Mapping[str, str],
        environ: Mapping[str, str],
        scratch: Path,
        own_agents: Path | None = None,
        clock: Clock | None = None,
        spend_limit: SpendLimit | None = None,
        transcripts: Path | None = None,
    ) -> "CliAgentProposer":
        """`name` is AGENT or AGENT:MODEL; `secrets` come from `take_secrets`. Raises UsageError for an unknown one."""
        agent, _, model = name.partition(":")
        agents = load_agents(own_agents)
        if agent not in agents:
            raise UsageError(f"there is no coding agent {agent!r}; there are: {', '.join(agents)}")
        return cls(
            agent,
            agents[agent],
            scratch=scratch,
            variables={**environ, **secrets},
            model=model or None,
            clock=clock,
            spend_limit=spend_limit,
            transcripts=transcripts,
        )

    @property
    def name(self) -> str:
        return f"cli:{self._agent}:{self._model}" if self._model else f"cli:{self._agent}"

    def propose(self, briefing: Briefing) -> Proposal:
        self._check()
        rendered = prompt_for(briefing, "files", self._max_prompt_tokens)
        prompt = self._redact(f"{rendered.system}\n{rendered.user}")
        with open_workspace(self._scratch, briefing.editable, briefing.incumbent.source, briefing.terms) as workspace:
            ran = self._run(workspace, prompt)
            output = read_output(self._spec.output, self._redact(ran.stdout))
            usage = self._count(output, ran)
            strays = workspace.strays()
            self.strays += len(strays)
            self._write(prompt, ran, output, usage, strays)
            self._require_success(ran, output, usage)
            draft = self._draft(workspace, briefing, output, usage)
        self._breaker.succeeded()
        return to_proposal(
            draft,
            briefing,
            proposer=self.name,
            usage=usage,
            redact=self._redact,
            prompt=rendered,
        )

    def _check(self) -> None:
        """Raises ProposalFailed if the agent may not be started now."""
        self._breaker.check(self._agent)
        if (rest_s := self._idle.remaining_s) > 0:
            raise ProposalFailed("no_change", f"{self._agent} rests: it kept changing nothing", cooldown_s=rest_s)
        if self._spec.needs_model and not self._model:
            self._breaker.refused("llm_config", f"{self._agent} needs a model: --proposer cli:{self._agent}:MODEL")
        self._spend_limit.check(tokens=EXPECTED_TOKENS, usd=self._last_usd)

    def _run(self, workspace: Workspace, prompt: str) -> Ran:
        users_home = Path(self._variables["HOME"]) if "HOME" in self._variables else Path.home()
        home = make_home(self._scratch, self._spec.login, users_home)
        try:
            return run_agent(
                self._spec,
                workspace,
                prompt=prompt,
                model=self._model,
                home=home.folder,
                variables=self._variables,
                deadline_s=self._deadline_s,
                grace_s=self._grace_s,
            )
        finally:
            home.give_back()

    def _count(self, output: AgentOutput, ran: Ran) -> Usage | None:
        if ran.report.ended == "not_started":
            return None
        model = output.model or self._model
        usd = output.usd
        if usd is None and model:
            usd = self._spend_limit.price(output.input_tokens, output.output_tokens, model=model)
        usage = Usage(
            model=one_line(model, 80) if model else None,
            input_tokens=output.input_tokens,
            output_tokens=output.output_tokens,
            usd=usd,
            seconds=round(ran.report.seconds, 3),
        )
        self._spend_limit.record(usage)
        self._last_usd = usd if usd is not None else self._last_usd
        return usage

    def _write(self, prompt: str, ran: Ran, output: AgentOutput, usage: Usage | None, strays: list[str]) -> None:
        self._transcripts.write(
            {
                "at": self._clock.now(),
                "agent": self.name,
                "walled": can_restrict_writing(),
                "prompt": prompt,
                "ended": ran.report.ended,
                "exit_code": ran.report.exit_code,
                "left_over_processes": ran.report.left_over,
                "stray_files": strays[:200],
                "message": output.message,
                "error": output.error,
                "stderr": self._redact(ran.stderr)[-8000:],
                "usage": usage.model_dump() if usage else None,
            }
        )

    def _require_success(self, ran: Ran, output: AgentOutput, usage: Usage | None) -> None:
        """Raises ProposalFailed unless it ended by itself, in time and without an error."""
        report = ran.report
        if report.ended == "not_started":
            binary = self._spec.argv[0]
            detail = f"{binary} cannot be started: {report.detail}. Install it, or choose another --proposer."
            self._breaker.refused("llm_config", self._redact(detail))
        failure = failure_of(self._spec.output, report, output, self._redact(ran.stderr), self._deadline_s)
        if failure is None:
            return
        detail = f"{self._agent} {failure.reason}"
        if failure.code in ("llm_auth", "llm_config"):
            self._breaker.refused(failure.code, f"{detail}. {failure.remedy}", usage)
        self._breaker.failed()
        rest_s = max(self._breaker.remaining_s, RESTS_S.get(failure.code, 0.0))
        raise ProposalFailed(failure.code, f"{detail}. {failure.remedy}".strip(". "), usage=usage, cooldown_s=rest_s)

    def _draft(self, workspace: Workspace, briefing: Briefing, output: AgentOutput, usage: Usage | None) -> Draft:
        try:
            source = self._redact(workspace.read_back())
            if source == briefing.incumbent.source:
                self._idle.failed()
                raise self._nothing(workspace, briefing.editable, output, usage)
            self._idle.succeeded()
            return checked(Draft(parse_header(output.message), source), briefing)
        except EditFailed as failure:
            raise ProposalFailed("llm_failed", f"{self._agent}: {failure}", usage=usage) from failure

    def _nothing(self, workspace: Workspace, editable: str, output: AgentOutput, usage: Usage | None) -> ProposalFailed:
        """It has ended and changed nothing that counts. After IDLE_LIMIT of these in a row it rests."""
        elsewhere = workspace.outside(output.denied)
        if elsewhere:
            code, words = "outside_write", f"tried to write {', '.join(elsewhere[:3])}, was kept from it, and left"
            detail = f"{self._agent} {words} {editable} as it was"
        else:
            code, detail = "no_change", f"{self._agent} ended without editing {editable}"
        rest_s = self._idle.remaining_s
        if rest_s > 0:
            detail += f", {IDLE_LIMIT} times or more in a row: it rests {rest_s:.0f} s"
        return ProposalFailed(code, one_line(self._redact(detail), 600), usage=usage, cooldown_s=rest_s)


def _secrets(spec: AgentSpec, variables: Mapping[str, str]) -> list[str]:
    """What the agent is given under the names of its table: keys, mostly, and never to be written down."""
    values = (variables.get(name, "") for name in (*spec.env, *spec.rename))
    return [value for value in values if len(value) >= MIN_SECRET and not value.startswith(("http://", "https://"))]
