"""`swarm doctor --agents`: which of the coding agents are installed, in which version, and whether a study would name
rightly what they do."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from swarm.clock import Clock
from swarm.records import one_line
from swarm.sandbox.landlock import ABI_THAT_KNOWS_TRUNCATION, abi, can_restrict_writing
from swarm.trial.files import remove_tree
from workers.agent_check.script import SCENES, Scene
from workers.agent_check.trying import NAMES, PROGRAM, Tried, can_be_tried, try_scene
from workers.proposers.cli_agent.agents import AgentSpec
from workers.proposers.cli_agent.process import run_agent
from workers.proposers.cli_agent.workspace import make_home, open_workspace

Finding = Mapping[str, str]
LIMIT_S = 60.0  # for all that is tried with one agent
LEAST_S = 10.0  # what a scene needs to be begun
TRIED: tuple[Scene, ...] = tuple(
    scene for scene in SCENES if scene != "hang"
)  # that a deadline holds is no agent's doing


def check_agents(agents: Mapping[str, AgentSpec], environ: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    """The wall, then one finding for each agent whose program is on the PATH, and one for those that are not."""
    yield _wall()
    installed = {
        name: spec for name, spec in agents.items() if shutil.which(spec.argv[0], path=environ.get("PATH")) is not None
    }
    for name, spec in installed.items():
        yield _agent(name, spec, environ, clock)
    absent = sorted(agents.keys() - installed.keys())
    if absent:
        yield {"check": "coding agents", "verdict": "ok", "detail": f"not installed: {', '.join(absent)}"}


def _wall() -> Finding:
    check = "coding agents' writing"
    if can_restrict_writing():
        return {"check": check, "verdict": "ok", "detail": "kept to their folder and home by Landlock"}
    detail = (
        f"this kernel's Landlock has version {abi()}, and {ABI_THAT_KNOWS_TRUNCATION} is needed to keep an agent from "
        "writing outside of its folder: start swarm in a container that holds nothing else"
    )
    return {"check": check, "verdict": "risk", "detail": detail}


def _agent(name: str, spec: AgentSpec, environ: Mapping[str, str], clock: Clock) -> Finding:
    check = f"coding agent {name}"
    folder = Path(tempfile.mkdtemp(prefix="swarm-agents-"))
    try:
        version = _version(spec, folder, environ)
        if version is None:
            detail = f"{spec.argv[0]} --version does not run behind the wall against writing: install it anew"
            return {"check": check, "verdict": "warn", "detail": detail}
        if not can_be_tried(spec):
            detail = f"{version}; not tried: it asks its maker's servers alone, which takes a sign-in"
            return {"check": check, "verdict": "ok", "detail": detail}
        verdict, detail = _judged(_tries(name, spec, folder, environ, clock))
        return {"check": check, "verdict": verdict, "detail": f"{version}; {detail}"}
    finally:
        remove_tree(folder)


def _version(spec: AgentSpec, folder: Path, environ: Mapping[str, str]) -> str | None:
    """What it says of itself, started as a study would; None where it does not start."""
    asking = AgentSpec(argv=(spec.argv[0], "--version"), prompt="stdin")
    with open_workspace(folder / "version", "train.py", PROGRAM) as workspace:
        home = make_home(folder / "version", (), folder)
        ran = run_agent(
            asking, workspace, prompt="", model=None, home=home.folder, variables=environ, deadline_s=LIMIT_S / 2
        )
    lines = [line for line in ran.stdout.splitlines() if line.strip()]
    if ran.report.ended != "exit" or ran.report.exit_code != 0 or not lines:
        return None
    return one_line(lines[-1], 60)


def _tries(name: str, spec: AgentSpec, folder: Path, environ: Mapping[str, str], clock: Clock) -> Iterator[Tried]:
    """As many scenes as there is time for. One that was cut off by the end of it is none, unless it is the first."""
    ends = clock.monotonic() + LIMIT_S
    for scene in TRIED:
        left_s = ends - clock.monotonic()
        if left_s < LEAST_S:
            return
        place = folder / scene.replace(" ", "-")
        place.mkdir()
        tried = try_scene(name, spec, scene, folder=place, environ=environ, deadline_s=left_s)
        if tried.code == "llm_timeout" and scene != TRIED[0]:
            return
        yield tried


def _judged(tries: Iterator[Tried]) -> tuple[str, str]:
    """The verdict, and what a person needs to know: the first that went wrong, or what went right."""
    done: list[Tried] = []
    for tried in tries:
        done.append(tried)
        if tried.wrote_outside:
            return "risk", "it wrote outside of its folder: use another agent, or a container that holds nothing else"
        if not tried.is_right:
            return "warn", _wrong(tried)
    slowest = max((tried.seconds for tried in done), default=0.0)
    untried = [scene for scene in TRIED if scene not in [tried.scene for tried in done]]
    late = f"; no time for: {', '.join(untried)}" if untried else ""
    return "ok", f"as expected: {', '.join(tried.scene for tried in done)}; {slowest:.0f} s a call at most{late}"


def _wrong(tried: Tried) -> str:
    wanted, got = NAMES[tried.scene] or "a proposal", tried.code or "a proposal"
    if tried.code == "llm_timeout":
        return f"{tried.scene}: it did not end in {tried.seconds:.0f} s; try again on a machine with less to do"
    asked = "" if tried.asked else "it never asked the scripted model; "
    return (
        f"{tried.scene}: {asked}{got} where {wanted} was due ({one_line(tried.detail, 300)}). Its arguments or its "
        "output may be of another version: give it a table of your own by SWARM_AGENTS, or install another version"
    )
