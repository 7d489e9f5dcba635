"""Caps, the choice of a card, and the ledger of what was asked for and what it cost."""

import os
from multiprocessing import get_context
from pathlib import Path

import pytest
from fakes.fake_worker import in_a_child
from fakes.pod_cloud import intent
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import PodError, UsageError
from swarm.pods.caps import DISK_USD_H, GRACE_S, Caps, choose
from swarm.pods.ledger import Entry, EntryKind, Ledger, default_ledger
from swarm.pods.provider import Offer


def offer(card: str, price: float, cloud: str = "secure", stock: str = "high") -> Offer:
    return Offer.model_validate({"card": card, "cloud": cloud, "price_usd_h": price, "stock": stock})


@given(
    hours=st.floats(0.01, 720), max_usd=st.floats(0.01, 10_000), price=st.floats(0.01, 100), dearer=st.floats(1, 1.05)
)
def test_a_life_with_its_grace_never_costs_more_than_the_limit(
    hours: float, max_usd: float, price: float, dearer: float
) -> None:
    """Also of a pod that costs the whole margin more than it was offered for."""
    caps = Caps(hours, max_usd)
    life_s = caps.lifetime_s(price)
    assert life_s <= hours * 3600
    if life_s > 0:
        assert (life_s + GRACE_S) / 3600 * (price * dearer + DISK_USD_H) <= max_usd * 1.000001
    assert caps.most_usd(price) >= life_s / 3600 * price


@pytest.mark.parametrize("wrong", [(0, 1), (1, 0), (float("nan"), 1), (1, float("nan")), (721, 1), (1, -5)])
def test_limits_that_are_none_are_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="it is from"):
        Caps(*wrong)
    with pytest.raises(UsageError, match="--max-price"):
        Caps(1, 1, 0)


def test_cards_are_tried_in_the_persons_order_and_the_cheaper_cloud_first() -> None:
    cards = [
        ("A", [offer("A", 0.7), offer("A", 0.3, "community")]),
        ("B", [offer("B", 0.2, stock="none"), offer("B", 0.25, "community")]),
        ("C", [offer("C", 2.0)]),
        ("D", []),
        ("E", [offer("E", 40.0)]),
    ]
    choice = choose(cards, None, Caps(1, 1, 50))
    assert [(one.card, one.price_usd_h) for one in choice.offers] == [("A", 0.3), ("A", 0.7), ("B", 0.25), ("C", 2.0)]
    assert choice.passed_over == (
        "B, secure: out of stock",
        "D: not in the catalogue",
        "E, secure: --max-usd 1 lasts less than 180 s at 40 USD/h",
    )
    choice = choose(cards, "secure", Caps(1, 1, 0.9))
    assert [(one.card, one.price_usd_h) for one in choice.offers] == [("A", 0.7)]
    assert "C, secure: 2 USD/h is above --max-price 0.9" in choice.passed_over


def entries(*kinds: str) -> list[Entry]:
    made = []
    for step, kind in enumerate(kinds):
        facts: dict[str, object] = {"at": 1000.0 * step, "name": "swarm-a", "kind": kind}
        facts |= {
            "intent": {"intent": intent()},
            "asked": {"price_usd_h": 3.6, "deadline_at": 9000.0, "card": "A"},
            "made": {"pod_id": "p1"},
            "ended": {"cost_usd": 0.5},
        }.get(kind, {})
        made.append(Entry.model_validate(facts))
    return made


@pytest.mark.parametrize(
    ("kinds", "may_exist", "cost_at_9000"),
    [
        (("intent",), False, 0.0),
        (("intent", "asked"), True, 8.0),
        (("intent", "asked", "not_made"), False, 0.0),
        (("intent", "asked", "not_made", "asked"), True, 6.0),
        (("intent", "asked", "asked", "made"), False, 8.0),  # the first of them may have made it
        (("intent", "asked", "made", "ended"), False, 0.5),
    ],
)
def test_a_rental_is_what_its_lines_add_up_to(
    kinds: tuple[str, ...], may_exist: bool, cost_at_9000: float, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path)
    for entry in entries(*kinds):
        ledger.append(entry)
    rental = ledger.rentals()["swarm-a"]
    assert (rental.may_exist, rental.cost_usd(9000.0)) == (may_exist, pytest.approx(cost_at_9000))
    assert [one.name for one in ledger.open_rentals()] == ([] if kinds[-1] == "ended" else ["swarm-a"])
    assert rental.overdue(9000.0 + GRACE_S + 1) is ("asked" in kinds and "ended" not in kinds)
    assert not rental.overdue(9000.0 + GRACE_S)


def test_a_torn_or_foreign_line_is_passed_over_and_nothing_is_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    first, second, _ = entries("intent", "asked", "made")
    ledger.append(first)
    with ledger.path.open("ab") as file:
        file.write(b'{"at": 1, "name": "swarm-a", "ki')
    ledger.append(second)
    with ledger.path.open("ab") as file:
        file.write(b'{"at": 1, "name": "swarm-a", "kind": "of a later version"}\nnot json\n')
    assert [entry.kind for entry in ledger.rentals()["swarm-a"].lines] == [EntryKind.INTENT, EntryKind.ASKED]
    assert (tmp_path / "ledger.jsonl").stat().st_mode & 0o077 == 0


def _append_many(root: str) -> None:
    for entry in entries("intent", "asked", "made") * 20:
        Ledger(Path(root)).append(entry)


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    children = [get_context("fork").Process(target=_append_many, args=(str(tmp_path),)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert len(Ledger(tmp_path).rentals()["swarm-a"].lines) == 240


def test_a_ledger_that_cannot_be_written_rents_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PodError, match="nothing is rented"):
        Ledger(tmp_path / "file" / "pods").append(entries("intent")[0])


def test_one_process_rents_for_a_name_at_a_time(tmp_path: Path) -> None:
    with Ledger(tmp_path).alone("swarm-a"):

        def other() -> None:
            try:
                with Ledger(tmp_path).alone("swarm-a"):
                    os._exit(1)
            except PodError as error:
                os._exit(0 if "held by another" in str(error) else 2)

        assert in_a_child(other) == 0


def test_where_the_ledger_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWARM_PODS_DIR", str(tmp_path))
    assert default_ledger() == tmp_path
    monkeypatch.delenv("SWARM_PODS_DIR")
    assert default_ledger() == Path.home() / ".local/state/swarm/pods"
