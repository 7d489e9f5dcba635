"""What a pod is told, and what it leaves behind: the contract between the one who rents and the one who runs.

The order crosses as JSON in the environment variable SWARM_POD_ORDER and holds no secret. It is read by a script that
has only the standard library, so it is flat where it can be. Times are seconds since the Unix epoch by the renter's
clock, which may differ from the pod's.

Below the pod's home (SWARM_POD_HOME, else /workspace/swarm):

    in/study.bundle     put there by the renter, when the source is a bundle; whole when its SHA-256 is the order's
    repo/               the clone in which `swarm up` runs: brain and refs/swarm/ are read from here at any time
    report/             report.html and report.md, when the study has ended
    log/                entry.log, study.log, watchdog.log
    state.json          `PodReport`, replaced as a whole at each change and at least every 30 s
    collected.json      `Collected`, written by the renter after each time that all there was came home
    down                written by the renter: end the study, make the report, and end yourself
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from swarm.records import Line

ORDER_VARIABLE = "SWARM_POD_ORDER"
HOME_VARIABLE = "SWARM_POD_HOME"
DEFAULT_HOME = "/workspace/swarm"

BUNDLE = "in/study.bundle"
REPO = "repo"
BRAIN = "repo/swarm_brain.jsonl"
REPORT = "report"
STUDY_LOG = "log/study.log"
WATCHDOG_LOG = "log/watchdog.log"
ENTRY_LOG = "log/entry.log"
STATE = "state.json"
COLLECTED = "collected.json"
DOWN = "down"


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Left(BaseModel):
    """Written by the other side, which may be of another version: what is not known is skipped."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Source(_Order):
    """Where the study's files come from. Of the bundle or repository `commit` is checked out."""

    kind: Literal["bundle", "repository"]
    commit: str
    url: str | None = None
    sha256: str | None = Field(default=None, description="of the bundle")


class SyncTarget(_Order):
    """`pull`: the renter fetches, and the pod waits for `collected.json` before it is deleted. `git`: the pod pushes
    refs/swarm/ and its brain to a remote, and needs nobody."""

    kind: Literal["pull", "git"] = "pull"
    url: str | None = None


class StudyOrder(_Order):
    """`deadline_at` and `lifetime_s` both end the pod, whichever is first: the first by the pod's clock if that clock
    was plausible at the start (not before `issued_at` by more than a minute, not an hour behind it), the second on a
    clock that is never set, from the entry script's first second over all restarts of the pod."""

    version: Literal[1] = 1
    pod_name: str
    source: Source
    up: tuple[str, ...] = Field(description="the words after `swarm up`")
    issued_at: float
    deadline_at: float
    lifetime_s: float = Field(gt=0)
    price_usd_h: float = Field(ge=0)
    max_usd: float = Field(gt=0)
    idle_s: float = Field(default=1800, gt=0, description="without a new record and a running trial, it ends")
    min_gain_per_usd: float | None = Field(default=None, description="below this over the last quarter, it ends")
    bundle_wait_s: float = Field(default=900, gt=0, description="how long it waits for the bundle")
    sync: SyncTarget = SyncTarget()
    sync_every_s: float = Field(default=30, gt=0)
    collect_wait_s: float = Field(default=600, ge=0, description="after the end, before the deadline")


class PodPhase(StrEnum):
    WAITING = "waiting"  # for the bundle
    SETTING_UP = "setting_up"
    RUNNING = "running"
    ENDING = "ending"  # report, last sync
    DONE = "done"  # all that is to be brought home lies there
    FAILED = "failed"  # as done, but the study did not run or ended with another code than 0


class PodReport(_Left):
    """`state.json`."""

    phase: PodPhase
    at: float
    why: Line = Field(default="", description="in words: study ended, deadline, idle, asked, ...")
    study_id: Line | None = None
    exit_code: int | None = Field(default=None, description="of swarm up")
    ends_at: float | None = Field(default=None, description="when the watchdog ends the pod, by the pod's clock")
    last_line: Line = Field(default="", max_length=300, description="of the study's log")
    usd: float | None = Field(default=None, description="spent so far, by the price of the order")


class Collected(_Left):
    """`collected.json`: everything up to this many bytes of the brain is at home, with the refs that it names."""

    brain_bytes: int
    at: float
    report: bool = Field(default=False, description="after the end: the report is at home too")
