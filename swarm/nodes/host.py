"""The driver's side of the exchange: its state on disk, its door on the network.

    .swarm/studies/STUDY/exchange/address.json    host, port and key of nodes: what a node gets a copy of
                                  driver.json     the same with the key of workers, which leaves this machine never
                                  class           the device class of the study's nodes
                                  TRIAL.json      one order each, as the exchange has it

An order is written down before a node hears of it: a driver that dies knows afterwards under which number it was given
out.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from swarm.clock import Clock
from swarm.errors import NodeError
from swarm.execution.executor import TrialOrder
from swarm.nodes.door import TIMEOUT_S, Caller, Door, new_key
from swarm.nodes.entry import Entry
from swarm.nodes.exchange import Exchange
from swarm.nodes.values import LEASE_S, Beat, Held, NodeSeen, Terms
from swarm.study.settings import Layout
from swarm.trial.files import Unreadable, read_plain, write_whole
from swarm.trial.folder import TrialFolder

MAX_ENTRY_BYTES = 64 << 20
OF_NODES = frozenset({"beat", "terms"})  # what they may ask: their key orders no trial, and stops none
NODES = TypeAdapter(list[NodeSeen])


class Address(BaseModel):
    """Where the door of a study is, and with which key one asks as what."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    key: str
    who: Literal["node", "driver"] = "node"

    def caller(self, timeout_s: float = TIMEOUT_S) -> Caller:
        return Caller(self.host, self.port, self.who, self.key, timeout_s)


class Stop(BaseModel):
    """What a worker asks for by `stop`."""

    trial_id: str
    reason: str


def exchange_folder(layout: Layout, study_id: str) -> Path:
    return layout.study(study_id) / "exchange"


def nodes_address(layout: Layout, study_id: str) -> Path:
    return exchange_folder(layout, study_id) / "address.json"


def driver_address(layout: Layout, study_id: str) -> Path:
    return exchange_folder(layout, study_id) / "driver.json"


def read_address(path: Path) -> Address:
    """Raises NodeError."""
    try:
        return Address.model_validate_json(read_plain(path, 1 << 16))
    except (Unreadable, ValidationError) as error:
        raise NodeError(f"{path} does not say where a study's exchange is: {error}") from None


class ExchangeHost:
    """Open from its making to `close`."""

    def __init__(
        self,
        layout: Layout,
        terms: Terms,
        clock: Clock,
        *,
        listen: str = "127.0.0.1",
        announced: str = "127.0.0.1",
        port: int = 0,
        device_class: str | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        """Takes up what an earlier one of the study has left, with its port and key. `device_class`: of trials that
        the study has already, wherever they ran. Raises NodeError."""
        self._trials = layout.trials(terms.study_id)
        self._folder = exchange_folder(layout, terms.study_id)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._lock = threading.Lock()
        known = device_class or self._class()
        self.exchange = Exchange(terms, clock.monotonic(), entries=self._entries(), device_class=known, lease_s=lease_s)
        self._noted_class = self.exchange.device_class
        keys, port = self._known(port)
        self._door = Door(self._answer, keys, listen, port)
        self.address = Address(host=announced, port=self._door.port, key=keys["node"])
        self.driver = self.address.model_copy(update={"key": keys["driver"], "who": "driver"})
        self._announce("address.json", self.address)
        self._announce("driver.json", self.driver)

    def close(self) -> None:
        self._door.close()

    def end(self) -> None:
        """Nodes hear at their next beat that the study is over."""
        with self._lock:
            self.exchange.ended = True

    def nodes(self) -> list[NodeSeen]:
        with self._lock:
            return self.exchange.nodes(self._clock.monotonic())

    def _answer(self, who: str, name: str, body: bytes) -> bytes:
        """Raises ValueError for what is no question, or not this one's to ask."""
        if who == "node" and name not in OF_NODES:
            raise ValueError(f"{name!r} is not for nodes to ask")
        with self._lock:
            now, text = self._clock.monotonic(), body.decode()
            answer: BaseModel | None = None
            match name:
                case "beat":
                    answer, endings = self.exchange.beat(Beat.model_validate_json(body), now)
                    for held in endings:
                        self._keep(held)
                case "look":
                    answer = self.exchange.look(text, now)
                case "submit":
                    self.exchange.submit(TrialOrder.model_validate_json(body))
                case "stop":
                    asked = Stop.model_validate_json(body)
                    self.exchange.stop(asked.trial_id, asked.reason)
                case "leave":
                    self.exchange.leave(text)
                case "drop_weights":
                    self.exchange.drop_weights(text)
                case "terms":
                    answer = self.exchange.terms
                case "nodes":
                    return NODES.dump_json(self.exchange.nodes(now))
                case _:
                    raise ValueError(f"{name!r} is no question to an exchange")
            self._write()
            return answer.model_dump_json().encode() if answer is not None else b""

    def _keep(self, held: Held) -> None:
        """The losses image by image, where those of a trial on this machine lie."""
        if held.losses is None:
            return
        import numpy as np

        folder = TrialFolder(self._trials / held.trial_id)
        folder.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        np.save(folder.losses, np.asarray(held.losses, dtype="float64"))

    def _write(self) -> None:
        for trial_id in sorted(self.exchange.changed):
            path, entry = self._folder / f"{trial_id}.json", self.exchange.entry(trial_id)
            if entry is None:
                path.unlink(missing_ok=True)
            else:
                write_whole(path, entry.model_dump_json())
            self.exchange.changed.discard(trial_id)  # not before: a full disk fails the question, and the next one
        if self.exchange.device_class not in (None, self._noted_class):
            self._noted_class = self.exchange.device_class
            write_whole(self._folder / "class", str(self._noted_class))

    def _entries(self) -> Iterator[Entry]:
        for path in sorted(self._folder.glob("*.json")):
            if path.name not in ("address.json", "driver.json"):
                try:
                    yield Entry.model_validate_json(read_plain(path, MAX_ENTRY_BYTES))
                except (Unreadable, ValidationError):
                    path.unlink(missing_ok=True)  # of another version: its trial is run again

    def _class(self) -> str | None:
        try:
            return read_plain(self._folder / "class", 4096).decode().strip() or None
        except (Unreadable, UnicodeDecodeError):
            return None

    def _known(self, port: int) -> tuple[dict[str, str], int]:
        """Keys and port as nodes and workers know them; a port that was asked for goes before."""
        try:
            nodes, driver = (read_address(self._folder / f"{name}.json") for name in ("address", "driver"))
        except NodeError:
            return {"node": new_key(), "driver": new_key()}, port
        return {"node": nodes.key, "driver": driver.key}, port or nodes.port

    def _announce(self, name: str, address: Address) -> None:
        """For its owner alone."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(address.model_dump_json())
