"""What a comparison of two arms consists of, as `swarm compare --json` prints it."""

from pydantic import BaseModel, ConfigDict

from swarm.study.settings import Memory

SCHEMA_VERSION = 1


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Arm(_Value):
    """One side of a comparison. `spec` is a proposer as `swarm up --proposer` takes it."""

    label: str
    spec: str
    memory: Memory = "shared"

    @property
    def name(self) -> str:
        return self.spec if self.memory == "shared" else f"{self.spec}, memory {self.memory}"


class Interval(_Value):
    """A mean over `n` pairs with its 95 % interval; the ends are None below two pairs."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class ArmResult(_Value):
    """One arm in one pair, after the pair's equal number of trials. Losses in nats; unknown costs are None.

    `leading_loss` is the mean of the program that the study built on, lucky runs included; `confirmed_loss` that of the
    best confirmed program, or of the baseline while none is. `tokens` and `usd` cover every call of the study so far,
    refused and failed ones too.
    """

    study_id: str
    baseline_loss: float
    leading_loss: float
    confirmed_loss: float
    confirmed_gains: int
    curve: tuple[float | None, ...]  # leading loss after 1, 2, ... trials
    complete: int
    failed: dict[str, int]
    refused: dict[str, int]
    calls: int
    tokens: int | None
    usd: float | None
    device_s: float


class PairResult(_Value):
    """Both arms from one seed. `longest_block`: most trials that one arm started in a row; 1 is strict alternation.
    `side_by_side`: share of the pair's time in which both arms were at work."""

    seed: int
    trials: int
    a: ArmResult
    b: ArmResult
    longest_block: int
    side_by_side: float


class Cost(_Value):
    """Of one arm over all pairs. A rate is None when its cost is unknown or nothing was confirmed."""

    confirmed_gains: int
    calls: int
    device_s: float
    device_s_per_gain: float | None
    tokens: int | None
    usd: float | None
    tokens_per_gain: float | None
    usd_per_gain: float | None


class Checkpoint(_Value):
    """The leading loss of B minus that of A after so many trials."""

    trials: int
    difference: Interval


class Comparison(_Value):
    schema_version: int = SCHEMA_VERSION
    a: Arm
    b: Arm
    target: str
    data: str
    device: str
    budget: str
    pairs: tuple[PairResult, ...]
    leading: Interval
    confirmed: Interval
    checkpoints: tuple[Checkpoint, ...]
    cost_a: Cost
    cost_b: Cost
    conclusion: str
