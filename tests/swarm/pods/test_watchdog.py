"""The guard of money in the pod, on a clock of the test's own: no second of it is waited for."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from factories.records import claim, finished, study_opened
from factories.studies import demo_study
from fakes.fake_clock import FakeClock

from swarm.brain import Brain
from swarm.pods.inside.ending import STAGES
from swarm.pods.inside.home import Home, read_json, write_json
from swarm.pods.inside.leave import NOT_RENTED
from swarm.pods.inside.processes import written_down
from swarm.pods.inside.research import Research
from swarm.pods.inside.told import Order, Source, SyncTarget
from swarm.pods.inside.watchdog import Watchdog, watch
from swarm.records import Decision, Operator, VerdictReached

START = 1_000_000.0
HOUR = 3600.0
SLACK_S = 120.0  # nothing is paid later than this after the deadline


@dataclass
class FakeChore:
    codes: list[int | None]
    killed: bool = False

    def poll(self) -> int | None:
        if self.killed:
            return -9
        return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]

    def kill(self) -> None:
        self.killed = True


@dataclass
class FakeChores:
    """`answers` has the exit codes of a chore by its name, one a poll, the last for ever; None: it still runs."""

    clock: FakeClock
    answers: dict[str, list[int | None]] = field(default_factory=dict)
    done: list[tuple[float, str]] = field(default_factory=list)

    def _new(self, name: str) -> FakeChore:
        self.done.append((self.clock.now() - START, name))
        return FakeChore(list(self.answers.get(name.split(maxsplit=1)[0], [0])))

    def stop(self, limit_s: float, *, now: bool) -> FakeChore:
        return self._new("stop --now" if now else "stop")

    def report(self, limit_s: float) -> FakeChore:
        return self._new("report")

    def push(self, limit_s: float) -> FakeChore:
        return self._new("push")

    def leave(self, limit_s: float, *, keep_disk: bool) -> FakeChore:
        return self._new("leave --keep-disk" if keep_disk else "leave")

    def kill_study(self) -> None:
        self.done.append((self.clock.now() - START, "kill_study"))

    def kill_all(self) -> None:
        self.done.append((self.clock.now() - START, "kill_all"))

    def names(self) -> list[str]:
        return [name for _, name in self.done]

    def at(self, name: str) -> float:
        """When it was first done, in seconds since the start."""
        return next(at for at, done in self.done if done == name)


@dataclass
class World:
    home: Home
    clock: FakeClock
    chores: FakeChores
    order: Order
    boot: str = "boot-1"

    def watchdog(self) -> Watchdog:
        return Watchdog(self.home, self.order, self.clock, self.chores, self.boot)

    def entry(self, phase: str, *, alive: bool = True, **more: object) -> None:
        """`alive`: the study's process is this one."""
        fields = {**written_down("pid", os.getpid()), **(written_down("up", os.getpid()) if alive else {})}
        write_json(self.home.entry, {**fields, "phase": phase, **more})

    def brain(self) -> Brain:
        self.home.repo.mkdir(exist_ok=True)
        return Brain(self.home.brain, clock=self.clock)

    def research(self) -> Brain:
        """A study with one trial that runs."""
        brain = self.brain()
        brain.append(study_opened(id="o"), claim("t0001", study_id="fake-study", operator=Operator.BASELINE))
        return brain

    def run(self, seconds: float, watchdog: Watchdog | None = None) -> Watchdog:
        """So many seconds, or until it is done; in larger steps while nothing happens."""
        watchdog = watchdog or self.watchdog()
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until and not watchdog.done:
            watchdog.step()
            self.clock.advance(1 if self.chores.done else min(10, until - self.clock.monotonic()))
        return watchdog

    def dead_at(self, limit_s: float = 3 * HOUR) -> float:
        """Seconds after the start at which all is over."""
        assert self.run(limit_s).done
        return self.clock.now() - START


@pytest.fixture
def world(tmp_path: Path) -> World:
    clock = FakeClock(START)
    home = Home(tmp_path / "pod")
    home.make()
    made = World(home, clock, FakeChores(clock), an_order())
    made.entry("running")
    return made


def an_order(**changes: object) -> Order:
    fields: dict[str, object] = {
        "pod_name": "swarm-test", "source": Source("bundle", "0" * 40), "up": (), "issued_at": START,
        "deadline_at": START + HOUR, "lifetime_s": HOUR, "price_usd_h": 0.5, "max_usd": 10.0, "idle_s": 2 * HOUR,
    }  # fmt: skip
    return Order(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_pod_is_gone_at_its_deadline_with_its_results_made_before(world: World) -> None:
    world.research()
    assert HOUR - 1 <= world.dead_at() <= HOUR + SLACK_S
    assert world.chores.at("leave --keep-disk") <= HOUR
    assert world.chores.names()[:4] == ["stop", "stop --now", "kill_study", "report"]
    assert world.chores.at("stop") == pytest.approx(HOUR - 600, abs=11)
    assert read_json(world.home.state)["why"] == "the deadline"


@pytest.mark.parametrize("sync", ["pull", "git"])
def test_what_hangs_until_for_ever_costs_no_minute_after_the_deadline(world: World, sync: str) -> None:
    world.research()
    world.order = an_order(sync=SyncTarget(sync, "remote"))
    world.chores.answers = {name: [None] for name in ("stop", "report", "push", "leave")}
    assert HOUR <= world.dead_at() <= HOUR + SLACK_S
    assert world.chores.names()[-1] == "kill_all"


def test_a_provider_that_never_says_yes_is_asked_again_and_then_everything_is_killed(world: World) -> None:
    world.chores.answers = {"leave": [1]}
    assert world.dead_at() <= HOUR + SLACK_S
    assert world.chores.names().count("leave --keep-disk") + world.chores.names().count("leave") >= 10
    assert world.chores.names().count("kill_all") == 2  # a minute after it began to ask, and at the end


def test_a_disk_is_kept_by_three_requests_and_not_at_any_price(world: World) -> None:
    world.chores.answers["leave"] = [1]
    world.research()
    world.dead_at()
    asked = [name for name in world.chores.names() if name.startswith("leave")]
    assert asked[:4] == [*["leave --keep-disk"] * 3, "leave"]


def test_a_clock_that_is_set_back_gives_no_time(world: World) -> None:
    watchdog = world.run(600)
    world.clock.jump(-5 * HOUR)
    world.run(3 * HOUR, watchdog)
    assert watchdog.done and world.clock.monotonic() <= HOUR + SLACK_S


def test_a_clock_that_is_set_forward_past_the_deadline_ends_the_pod(world: World) -> None:
    watchdog = world.run(600)
    world.clock.jump(5 * HOUR)
    world.run(200, watchdog)
    assert watchdog.done and world.clock.monotonic() <= 600 + SLACK_S


@pytest.mark.parametrize("hours_off", [-3, 3])
def test_with_a_clock_that_was_never_right_the_length_counts_and_not_the_moment(world: World, hours_off: float) -> None:
    world.clock.jump(hours_off * HOUR)
    watchdog = world.run(HOUR - 700)
    assert world.chores.done == [] and not watchdog.done
    world.run(HOUR, watchdog)
    assert watchdog.done and world.clock.monotonic() <= HOUR + SLACK_S


def test_a_pod_that_began_late_gets_no_extra_time(world: World) -> None:
    world.clock.advance(1200)
    assert world.dead_at() <= HOUR + SLACK_S


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_restarts_give_no_time(world: World, boot: str) -> None:
    world.order = an_order(deadline_at=START + 9 * HOUR)
    world.run(1000)
    world.clock.advance(1000)  # nobody watches
    world.boot = boot
    assert world.dead_at() <= HOUR + SLACK_S


def test_money_ends_it_before_time_does(world: World) -> None:
    world.order = an_order(price_usd_h=2.0, max_usd=1.0)
    world.research()
    assert world.dead_at() <= HOUR / 2 + SLACK_S
    assert str(read_json(world.home.state)["why"]).startswith("the money")


def test_idle_with_no_trial_and_no_record_ends_it(world: World) -> None:
    world.order = an_order(idle_s=300, collect_wait_s=0)
    brain = world.research()
    brain.append(finished("t0001", 1.0, study_id="fake-study"))
    assert 300 <= world.dead_at() <= 340
    assert "idle" in str(read_json(world.home.state)["why"])


def test_a_trial_that_runs_is_not_idle_but_one_of_a_dead_study_is(world: World) -> None:
    world.order = an_order(idle_s=300, collect_wait_s=0)
    world.research()
    watchdog = world.run(1000)
    assert world.chores.done == []
    world.entry("running", alive=False)
    world.run(30, watchdog)
    assert watchdog.done


def test_records_keep_it_alive(world: World) -> None:
    world.order = an_order(idle_s=300)
    brain, watchdog = world.research(), world.watchdog()
    brain.append(finished("t0001", 1.0, study_id="fake-study"))
    for trial in range(2, 9):
        world.run(250, watchdog)
        brain.append(claim(f"t{trial:04d}", study_id="fake-study"), finished(f"t{trial:04d}", 1, study_id="fake-study"))
    assert world.chores.done == []


def test_without_code_it_ends_soon(world: World) -> None:
    world.order = an_order(bundle_wait_s=60)
    world.entry("waiting", alive=False)
    assert world.dead_at() <= 60 + 40
    assert "no code came" in str(read_json(world.home.state)["why"])


def test_a_set_up_that_never_ends_is_ended(world: World) -> None:
    world.order = an_order(lifetime_s=9 * HOUR, deadline_at=START + 9 * HOUR)
    world.entry("setting_up", alive=False)
    assert world.dead_at() <= 2700 + 40


@pytest.mark.parametrize(("wanted", "ends"), [(0.5, True), (0.05, False), (None, False)])
def test_too_little_for_the_money_ends_it_when_that_was_asked_for(world: World, wanted: float, ends: bool) -> None:
    """A budget of 0.5 USD: a gain of 0.02 in its first quarter, 0.16 a USD."""
    world.order = an_order(min_gain_per_usd=wanted, collect_wait_s=0)
    brain, study = world.research(), {"study_id": "fake-study"}
    brain.append(finished("t0001", 1.0, **study))
    watchdog = world.run(600)
    brain.append(claim("t0002", **study), finished("t0002", 0.98, **study), leads("t0002"))
    world.run(290, watchdog)
    assert world.chores.done == []
    world.run(60, watchdog)
    assert bool(world.chores.done) is ends


def leads(program: str) -> VerdictReached:
    return VerdictReached(
        study_id="fake-study", trial_id=program, program=program, parent="t0001", decision=Decision.KEEP,
        level="provisional", leads=True, probability=0.9, delta=-0.02, sigma=0.01, replicates=1, parent_replicates=2,
    )  # fmt: skip


def test_when_the_study_has_ended_results_wait_for_the_renter_and_then_the_pod_goes(world: World) -> None:
    world.research()
    world.entry("over", alive=False, exit_code=0)
    watchdog = world.run(100)
    assert read_json(world.home.state)["phase"] == "done"
    assert "leave" not in world.chores.names()
    brought: dict[str, object] = {"brain_bytes": world.home.brain.stat().st_size, "at": 0, "report": False}
    write_json(world.home.collected, brought)
    world.run(5, watchdog)
    assert not watchdog.done
    write_json(world.home.collected, {**brought, "report": True})
    world.run(10, watchdog)
    assert watchdog.done and world.chores.names()[-2:] == ["leave", "kill_all"]


def test_what_nobody_fetched_keeps_its_disk(world: World) -> None:
    world.research()
    world.order = an_order(collect_wait_s=60)
    world.entry("over", alive=False, exit_code=1)
    assert world.dead_at() <= 60 + 40
    assert "leave --keep-disk" in world.chores.names()
    assert read_json(world.home.state)["phase"] == "failed"


def test_results_are_pushed_while_it_runs_and_before_it_ends(world: World) -> None:
    world.order = an_order(sync=SyncTarget("git", "remote"), sync_every_s=60)
    world.research()
    watchdog = world.run(300)
    assert world.chores.names() == ["push"] * 4
    world.chores.answers = {"push": [1]}
    world.entry("over", alive=False, exit_code=0)
    world.run(20, watchdog)
    assert world.chores.names().count("push") >= 6 and not watchdog.done
    world.chores.answers = {}
    world.run(30, watchdog)
    assert watchdog.done and "leave" in world.chores.names()


def test_a_word_ends_it_at_once(world: World) -> None:
    world.research()
    world.order = an_order(collect_wait_s=0)
    world.home.down.touch()
    assert world.dead_at() <= 25
    assert world.chores.names()[0] == "stop --now"


def test_a_machine_that_is_not_rented_is_only_left(world: World) -> None:
    world.chores.answers = {"leave": [NOT_RENTED]}
    world.entry("over", alive=False, exit_code=0)
    assert world.dead_at() <= 25
    assert world.chores.names().count("leave --keep-disk") == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_watchdog_that_is_killed_at_any_stage_is_gone_on_with(world: World, stage: str) -> None:
    """The new one ends the pod in time, and asks the provider unless it has said yes."""
    world.research()
    world.run(HOUR - 700)
    left_already = stage in ("closing", "over")
    write_json(world.home.ending, {"why": "idle", "stage": stage, "left": left_already, "delivered": left_already})
    assert world.run(2 * HOUR).done and world.clock.now() - START <= HOUR + SLACK_S
    assert any(name.startswith("leave") for name in world.chores.names()) is not left_already


def test_a_pod_that_comes_up_again_after_its_end_asks_its_provider_again(world: World) -> None:
    write_json(world.home.ending, {"why": "the deadline", "stage": "over", "left": False})
    assert world.dead_at() <= 10
    assert "leave --keep-disk" in world.chores.names()


@pytest.mark.parametrize("stage", ["leave", "closing", "over"])
def test_a_pod_that_is_started_again_after_its_end_waits_for_the_renter_and_leaves(world: World, stage: str) -> None:
    """Its provider stops it as soon as it has said yes: then nobody has lived to write down that it did."""
    world.research()
    world.order = an_order(collect_wait_s=200)
    write_json(world.home.ending, {"why": "the deadline", "stage": stage, "left": stage == "over", "delivered": False})
    if stage != "over":
        world.home.left.touch()
    world.clock.advance(2 * HOUR)
    watchdog = world.run(100)
    assert not watchdog.done and world.chores.names() == []
    brought = {"brain_bytes": world.home.brain.stat().st_size, "at": 0.0, "report": True}
    write_json(world.home.collected, brought)
    world.run(20, watchdog)
    assert watchdog.done and "leave" in world.chores.names()


def test_a_step_that_fails_is_told_and_the_next_one_follows(world: World) -> None:
    steps: list[int] = []

    @dataclass
    class Failing:
        done: bool = False

        def step(self) -> None:
            steps.append(1)
            self.done = len(steps) == 3
            raise RuntimeError("a bug")

    watch(Failing(), world.home, world.clock)  # type: ignore[arg-type] # what it needs of a watchdog
    assert len(steps) == 3 and "a bug" in world.home.log("watchdog").read_text()


def test_the_state_is_fresh_for_the_renter(world: World) -> None:
    world.research()
    world.home.log("study").write_text("one\nthe last line\n\n")
    watchdog = world.watchdog()
    for _ in range(5):
        world.run(60, watchdog)
        state = read_json(world.home.state)
        assert world.clock.now() - float(str(state["at"])) <= 30
        assert state["phase"] == "running" and state["study_id"] == "fake-study"
        assert state["last_line"] == "the last line"
        assert float(str(state["ends_at"])) == pytest.approx(START + HOUR, abs=11)


def test_the_small_reading_of_a_brain_agrees_with_the_whole_one(tmp_path: Path) -> None:
    """On a study with replicates, failures and a lineage, record by record."""
    path = tmp_path / "swarm_brain.jsonl"
    brain, research = Brain(path, clock=FakeClock()), Research(path)
    leaders = set()
    for record in demo_study().records:
        brain.append(record.model_copy(update={"id": "", "seq": 0}))
        research.look()
        study = brain.snapshot().latest
        assert study is not None
        incumbent = study.incumbent
        assert research.incumbent_cost == (incumbent.mean if incumbent is not None else None)
        assert research.trial_runs is bool(study.open_trials())
        leaders |= {incumbent.name} if incumbent is not None else set()
    assert len(leaders) > 1


def broken_lines() -> list[bytes]:
    return [b"{", b"[]", b'"x"', b"\xff\xfe", b'{"kind": "trial_finished", "study_id": "fake-study"}', b"null"]


@pytest.mark.parametrize("line", broken_lines())
def test_a_line_that_cannot_be_read_costs_only_itself(world: World, line: bytes) -> None:
    world.research()
    with world.home.brain.open("ab") as file:
        file.write(line + b"\n")
    research = Research(world.home.brain)
    assert research.look() and research.trial_runs
