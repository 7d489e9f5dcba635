"""Who runs what: each rule of the exchange, and any order of events against one ending a trial."""

from factories.orders import beat, order, running, scored, terms
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.execution.executor import Outcome
from swarm.nodes.entry import Entry
from swarm.nodes.exchange import LOSSES_ALLOWED, Exchange
from swarm.nodes.values import LEASE_S, Answer, Beat, Held
from swarm.records import FailReason


def opened(*trials: str, now: float = 0.0) -> Exchange:
    exchange = Exchange(terms(), now)
    for trial in trials:
        exchange.submit(order(trial))
    return exchange


def say(exchange: Exchange, said: Beat, now: float = 1.0) -> Answer:
    return exchange.beat(said, now)[0]


def outcome_of(exchange: Exchange, trial_id: str = "t0001", now: float = 1.0) -> Outcome | None:
    look = exchange.look(trial_id, now)
    assert look is not None
    return look.outcome


def test_an_order_is_given_out_reported_and_over() -> None:
    exchange = opened("t0001")
    lease = say(exchange, beat()).lease
    assert lease is not None and (lease.issue, lease.order) == (1, order())
    say(exchange, beat("a", running()))
    look = exchange.look("t0001", 1.0)
    assert look is not None and look.progress is not None and look.progress.started is not None
    assert (look.progress.state, look.progress.started.node) == ("running", "a")
    answer, endings = exchange.beat(beat("a", scored()), 2.0)
    assert answer.forget == ("t0001",) and [held.losses for held in endings] == [(2.0, 2.0)]
    ended = outcome_of(exchange)
    assert ended is not None and ended.score is not None and ended.started is not None and ended.started.node == "a"


def test_an_end_that_is_told_twice_counts_once() -> None:
    exchange = opened("t0001")
    say(exchange, beat())
    assert len(exchange.beat(beat("a", scored()), 1.0)[1]) == 1
    answer, endings = exchange.beat(beat("a", scored(loss=1.0)), 1.0)
    assert endings == [] and answer.forget == ("t0001",)
    ended = outcome_of(exchange)
    assert ended is not None and ended.score is not None and ended.score.validation_loss == 2.0


def test_what_a_lost_node_ran_is_given_to_another_and_its_late_word_is_not_heard() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    say(exchange, beat("a", running()), now=LEASE_S)
    late = LEASE_S + LEASE_S + 1
    lease = say(exchange, beat("b"), now=late).lease
    assert lease is not None and lease.issue == 2
    answer, endings = exchange.beat(beat("a", scored(issue=1, loss=0.1)), late)
    assert endings == [] and answer.forget == ("t0001",), "it is told to kill what it has"
    say(exchange, beat("b", scored(issue=2)), now=late)
    ended = outcome_of(exchange, now=late)
    assert ended is not None and ended.score is not None and ended.score.validation_loss == 2.0


def test_a_node_that_comes_back_before_its_order_was_given_on_keeps_it() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    say(exchange, beat("a", running()))
    late = 2 * LEASE_S + 5
    look = exchange.look("t0001", late)
    assert look is not None and look.progress is not None and look.progress.state == "waiting"
    assert say(exchange, beat("a", running()), now=late).forget == ()
    assert say(exchange, beat("b"), now=late).lease is None


def test_an_order_that_was_lost_with_too_many_nodes_is_given_up() -> None:
    exchange = opened("t0001")
    now = 1.0
    for number in range(LOSSES_ALLOWED + 1):
        assert say(exchange, beat(f"n{number}"), now=now).lease is not None
        say(exchange, beat(f"n{number}", running(issue=number + 1)), now=now)
        now += LEASE_S + 1
        exchange.look("t0001", now)
    ended = outcome_of(exchange, now=now)
    assert ended is not None and ended.reason is FailReason.ABANDONED and "3 nodes were lost" in ended.detail


def test_an_answer_that_did_not_arrive_is_given_once_more_under_its_number() -> None:
    exchange = opened("t0001", "t0002")
    first, again = (say(exchange, beat("a")).lease for _ in range(2))
    assert first is not None and again == first
    assert exchange.leases == 1


def test_a_node_that_does_not_name_what_it_ran_has_lost_it() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    say(exchange, beat("a", running()))
    lease = say(exchange, beat("a")).lease
    assert lease is not None and lease.issue == 2, "its process died; the trial begins anew"


def test_what_is_given_back_goes_to_another_and_counts_as_no_loss() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    say(exchange, beat("a", Held(trial_id="t0001", issue=1, returned=True), wants=False))
    entry = exchange.entry("t0001")
    assert entry is not None and (entry.state, entry.lost) == ("waiting", 0)
    assert say(exchange, beat("b")).lease is not None


def test_a_node_with_another_harness_data_version_or_class_is_refused() -> None:
    exchange = opened("t0001", "t0002")
    assert say(exchange, beat("a")).lease is not None
    for number, (what, other) in enumerate(
        {"harness_sha256": "h", "data_sha256": "x", "version": "0", "device": "cuda", "device_class": "other"}.items()
    ):
        answer = say(exchange, beat(f"b{number}", **{what: other}))
        assert answer.lease is None and answer.refused.startswith("another "), what
    assert say(exchange, beat("c")).lease is not None


def test_the_word_of_a_refused_node_ends_nothing() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    answer, endings = exchange.beat(beat("a", scored(), data_sha256="changed"), 1.0)
    assert endings == [] and answer.forget == ("t0001",) and outcome_of(exchange) is None


def test_orders_go_to_the_node_that_holds_the_fewest() -> None:
    exchange = opened("t0001")
    assert say(exchange, beat("a")).lease is not None
    say(exchange, beat("b"))
    exchange.submit(order("t0002"))
    assert say(exchange, beat("a", running())).lease is None, "b is there, wants one and has none"
    given = say(exchange, beat("b")).lease
    assert given is not None and given.order.trial_id == "t0002"


def test_what_fits_on_no_node_goes_through_all_of_them_first() -> None:
    exchange = opened("t0001")
    too_large = Outcome(reason=FailReason.INFEASIBLE, detail="larger than the device")
    say(exchange, beat("a"))
    say(exchange, beat("b", wants=False))
    say(exchange, beat("a", Held(trial_id="t0001", issue=1, outcome=too_large)))
    assert outcome_of(exchange) is None
    assert say(exchange, beat("a")).lease is None
    assert say(exchange, beat("b")).lease is not None
    say(exchange, beat("b", Held(trial_id="t0001", issue=2, outcome=too_large)))
    assert outcome_of(exchange) == too_large


def test_a_node_that_cannot_set_it_up_passes_it_on_and_the_last_one_is_believed() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    say(exchange, beat("a", Held(trial_id="t0001", issue=1, broken="no disk")))
    look = exchange.look("t0001", 1.0)
    assert look is not None and (look.broken, look.outcome) == ("no disk", None)


def test_a_stop_reaches_the_node_that_runs_it_and_ends_at_once_what_waits() -> None:
    exchange = opened("t0001", "t0002")
    say(exchange, beat("a"))
    for trial in ("t0001", "t0002"):
        exchange.stop(trial, "stopped by the user")
        exchange.stop(trial, "too late")
    assert say(exchange, beat("a", running(), wants=False)).stops == {"t0001": "stopped by the user"}
    ended = outcome_of(exchange, "t0002")
    assert ended is not None and ended.reason is FailReason.ABANDONED and "stopped by the user" in ended.detail


def test_what_was_stopped_on_a_node_that_is_lost_is_over() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    exchange.stop("t0001", "pruned at 50 %")
    ended = outcome_of(exchange, now=2 * LEASE_S + 2)
    assert ended is not None and ended.reason is FailReason.PRUNED


def test_an_order_that_is_given_anew_fences_what_an_earlier_one_left() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    exchange.submit(order())
    assert exchange.beat(beat("a", scored(), wants=False), 1.0)[1] == []
    lease = say(exchange, beat("a")).lease
    assert lease is not None and lease.issue == 3


def test_a_driver_that_comes_back_waits_a_lease_for_the_nodes_that_it_had() -> None:
    before = opened("t0001")
    say(before, beat("a"))
    say(before, beat("a", running()))
    entry = before.entry("t0001")
    assert entry is not None
    written = entry.model_dump_json()
    read = Entry.model_validate_json(written)
    after = Exchange(terms(), 1000.0, entries=[read], device_class="some processor")
    assert say(after, beat("b"), now=1001.0).lease is None
    assert say(after, beat("a", running()), now=1002.0).forget == ()
    assert after.beat(beat("a", scored()), 1003.0)[1] != []
    late = Exchange(terms(), 1000.0, entries=[Entry.model_validate_json(written)])
    assert say(late, beat("b"), now=1000.0 + LEASE_S + 1).lease is not None


def test_nodes_hear_that_the_study_is_over() -> None:
    exchange = opened("t0001")
    say(exchange, beat("a"))
    exchange.ended = True
    answer = say(exchange, beat("a", running()))
    assert answer.ended and answer.forget == ("t0001",) and answer.lease is None


EVENT = st.tuples(st.sampled_from(["beat", "freeze", "lose", "end", "wait", "again", "back"]), st.integers(0, 2))


@settings(max_examples=80, deadline=None)
@given(st.lists(EVENT, max_size=60))
def test_whatever_happens_a_trial_has_one_ending_and_one_node_is_believed(events: list[tuple[str, int]]) -> None:
    """Three nodes that freeze, lose what they hold, give it back and end it, in any order."""
    exchange, now = opened("t0001", "t0002"), 0.0
    hands: list[dict[str, int]] = [{}, {}, {}]
    endings: list[tuple[str, int]] = []
    for event, number in events:
        now += 1.0
        mine = hands[number]
        if event == "wait":
            now += LEASE_S
            exchange.look("t0001", now)
            continue
        if event == "freeze":
            continue
        if event == "lose":
            mine.clear()
        words = [
            scored(name, issue) if event == "end" else
            Held(trial_id=name, issue=issue, returned=True) if event == "back" else running(name, issue)
            for name, issue in mine.items()
        ]  # fmt: skip
        answer, ended = exchange.beat(beat(f"n{number}", *words, wants=len(mine) == 0), now)
        endings += [(held.trial_id, held.issue) for held in ended]
        for name in answer.forget:
            mine.pop(name, None)
        if answer.lease is not None:
            mine[answer.lease.order.trial_id] = answer.lease.issue
        given_out = [(name, issue) for held in hands for name, issue in held.items()]
        assert len(given_out) == len(set(given_out)), "no number is given out twice"
    assert len({name for name, _ in endings}) == len(endings), "one ending each"


def test_a_node_whose_trials_ran_on_something_else_than_it_says_is_refused_and_its_trials_run_elsewhere() -> None:
    """A second card of another model, say, or a lie: its own executor names what a trial was given."""
    exchange = opened("t0001")
    say(exchange, beat("a"))
    other = running()
    assert other.progress is not None and other.progress.started is not None
    started = other.progress.started.model_copy(update={"device_class": "another processor"})
    lying = other.model_copy(update={"progress": other.progress.model_copy(update={"started": started})})
    answer = say(exchange, beat("a", lying))
    assert "its trials ran on a another processor" in answer.refused and answer.forget == ("t0001",)
    scored_there = scored().model_copy(update={"outcome": Outcome(score=scored().outcome.score, started=started)})  # type: ignore[union-attr]
    assert exchange.beat(beat("a", scored_there), 1.0)[1] == [] and outcome_of(exchange) is None
    lease = say(exchange, beat("b")).lease
    assert lease is not None and lease.issue == 2
    assert say(exchange, beat("a")).refused, "and it stays refused"
    assert say(exchange, beat("a", pid=2)).refused == "", "until another process of it says what it is"


def test_what_a_trial_ran_on_is_the_class_that_its_node_was_let_in_with() -> None:
    exchange = opened("t0001")
    say(exchange, beat())
    say(exchange, beat("a", running()))
    look = exchange.look("t0001", 1.0)
    assert look is not None and look.progress is not None and look.progress.started is not None
    assert look.progress.started.device_class == "some processor"


def test_a_node_that_is_refused_holds_nothing_back() -> None:
    """Its order goes to another at once, also one that it never named."""
    exchange = opened("t0001", "t0002")
    say(exchange, beat("a"))
    answer = say(exchange, beat("a", data_sha256="other"))
    assert answer.refused and answer.lease is None, "nor is it given its own order again"
    lease = say(exchange, beat("b")).lease
    assert lease is not None and (lease.order.trial_id, lease.issue) == ("t0001", 2)


def test_of_two_machines_with_one_name_the_first_is_heard_and_no_trial_is_lost() -> None:
    exchange = opened("t0001", "t0002")
    say(exchange, beat("a", place="here"))
    say(exchange, beat("a", running(), place="here", wants=False))
    for number in range(10):
        answer = say(exchange, beat("a", place="there"), now=1.0 + number)
        assert "another node is called a" in answer.refused and answer.lease is None
    entry = exchange.entry("t0001")
    assert entry is not None and (entry.state, entry.lost, entry.issue) == ("leased", 0, 1)
    assert say(exchange, beat("a", running(), place="here")).forget == ()
    late = 3 * LEASE_S
    exchange.look("t0001", late)
    assert say(exchange, beat("a", place="there"), now=late).refused == "", "the first one is gone"


def test_steps_are_not_worth_a_write_and_whatever_counts_is() -> None:
    exchange = opened("t0001")
    say(exchange, beat())
    exchange.changed.clear()
    say(exchange, beat("a", running()))
    assert exchange.changed == {"t0001"}, "it has begun: after a restart this tells lost from never come"
    exchange.changed.clear()
    say(exchange, beat("a", running()))
    assert exchange.changed == set()
    say(exchange, beat("a", Held(trial_id="t0001", issue=1, broken="no room")))
    assert exchange.changed == {"t0001"}
    exchange.changed.clear()
    again = opened("t0001")
    say(again, beat())
    say(again, beat("a", running()))
    again.changed.clear()
    again.look("t0001", 5 * LEASE_S)
    assert again.changed == {"t0001"}, "a loss is counted on disk too"
