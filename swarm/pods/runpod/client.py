"""The client: which request goes out, what of a failure is tried again, and what a status means.

What may be tried again without harm is: whatever reads, and a stop or a termination. A create is sent again only when
it surely did nothing (429, or no connection); in every other doubt it is ReplyLost, and the one who asked lists first.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import BaseModel, ValidationError

from swarm.clock import Clock
from swarm.pods.provider import (
    Cloud,
    NoCapacity,
    Offer,
    PaymentRequired,
    Pod,
    PodOrder,
    Refused,
    ReplyLost,
    Unreachable,
)
from swarm.pods.runpod.reply import Reply, TooMuch, lines, pieces, whole
from swarm.pods.runpod.wire import Action, CreatePod, GpuTypes, LogEvent, PodList, PodReply, Problem
from swarm.records import one_line
from swarm.version import VERSION

BASE_URL = "https://api.runpod.io/v2"
KEY_VARIABLE = "RUNPOD_API_KEY"
KEY_FILE_VARIABLE = "RUNPOD_API_KEY_FILE"
URL_VARIABLE = "SWARM_RUNPOD_BASE_URL"
CONNECT_S, READ_S = 5.0, 20.0
LOG_LIMIT_S = 10.0
ATTEMPTS = 4
MAX_WAIT_S = 60.0  # of one Retry-After; a longer one is told to the person instead
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_Model = TypeVar("_Model", bound=BaseModel)


def key_of(environment: Mapping[str, str]) -> str | None:
    """From the environment, or from the file that it names; never from an argument, which every process can read."""
    key = environment.get(KEY_VARIABLE, "").strip()
    if not key and (named := environment.get(KEY_FILE_VARIABLE)):
        try:
            key = Path(named).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{KEY_FILE_VARIABLE} names {named}, which cannot be read: {error}") from error
    return key or None


class RunpodPods:
    """Pods at Runpod, for one key. Not for several threads at once."""

    name = "runpod"

    def __init__(self, key: str, clock: Clock, base_url: str = BASE_URL, read_s: float = READ_S) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise Refused(f"{URL_VARIABLE} is {base_url}: a key goes over https only")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise Refused(f"{KEY_VARIABLE} holds what is no key: it is one word of plain characters")
        self._key, self._clock = key, clock
        self._client = httpx2.Client(
            base_url=base_url.rstrip("/") + "/",
            headers={
                "Authorization": f"Bearer {key}",
                "User-Agent": f"swarm-research/{VERSION}",
                "Accept-Encoding": "gzip",  # what is read with a limit
            },
            timeout=httpx2.Timeout(read_s, connect=CONNECT_S),
            limits=httpx2.Limits(max_keepalive_connections=0),  # one that idled between two turns may be dead
            follow_redirects=False,  # the key would go with it
            trust_env=parts.scheme == "https",
        )

    @classmethod
    def from_environment(cls, clock: Clock) -> "RunpodPods":
        key = key_of(os.environ)
        if key is None:
            raise Refused(
                f"there is no key: set {KEY_VARIABLE}, or {KEY_FILE_VARIABLE} to a file that holds it "
                "(made at the provider's console under Settings, API Keys); --fake needs none"
            )
        return cls(key, clock, os.environ.get(URL_VARIABLE) or BASE_URL)

    def offers(self, card: str) -> list[Offer]:
        """Of both clouds, each with its own stock. `card` is the id of the catalogue, or the short name there."""
        found = []
        clouds: tuple[Cloud, ...] = ("secure", "community")
        for cloud in clouds:
            query = f"include=AVAILABILITY&product=POD&cloud={cloud.upper()}"
            types = self._parsed(GpuTypes, self._repeat("GET", f"catalog/gpus?{query}"))
            found += [one.offer(cloud) for one in types.gpus if card.lower() in (one.id.lower(), one.name.lower())]
        return sorted((offer for offer in found if offer is not None), key=lambda offer: offer.price_usd_h)

    def create(self, order: PodOrder) -> Pod:
        body = CreatePod.of(order)
        for attempt in range(ATTEMPTS):
            try:
                response = self._send("POST", "pods", body)
            except _NOT_SENT as error:
                problem: str = type(error).__name__
                self._clock.sleep(2.0**attempt)
                continue
            except httpx2.HTTPError as error:
                raise ReplyLost(f"{self.name} did not say whether it made {order.name}: {self._said(error)}") from error
            if response.status != 429:
                return self._created(response, order)
            problem = self._wait(response, attempt)
        raise Unreachable(f"{self.name} took no order in {ATTEMPTS} attempts ({problem}); nothing was rented")

    def _created(self, response: Reply, order: PodOrder) -> Pod:
        status, text = response.status, self._problem(response)
        card = f"{order.card} in the {order.cloud} cloud"
        if response.is_success:
            try:
                return PodReply.model_validate_json(response.content).pod()
            except ValidationError as error:
                raise ReplyLost(f"{self.name} made {order.name} and its answer is not understood") from error
        if status == 400:
            raise NoCapacity(f"{card} is not to be had now: {text}")
        if status == 402:
            raise PaymentRequired(f"{self.name}: the account has no balance for this ({text}): add credit there")
        if status >= 500 or status == 408:
            raise ReplyLost(f"{self.name} answered {status} to the order of {order.name}: {text}")
        raise Refused(self._refusal(status, f"the order of {card}", text), status)

    def get(self, pod_id: str) -> Pod | None:
        response = self._repeat("GET", f"pods/{quote(pod_id, safe='')}", missing_ok=True)
        return None if response.status == 404 else self._parsed(PodReply, response).pod()

    def list(self) -> list[Pod]:
        found = self._parsed(PodList, self._repeat("GET", "pods"))
        try:
            return found.ours()
        except ValidationError as error:
            raise self._not_understood(error) from error

    def start(self, pod_id: str) -> None:
        """Harmless to ask twice: one that runs already answers with a conflict."""
        path = f"pods/{quote(pod_id, safe='')}/action"
        try:
            self._repeat("POST", path, Action(action="start"), conflict_ok=True)
        except Refused as refused:
            if refused.status == 400:
                raise NoCapacity(f"{pod_id} cannot start now, its card is taken: {refused}") from refused
            raise

    def stop(self, pod_id: str) -> None:
        path = f"pods/{quote(pod_id, safe='')}/action"
        self._repeat("POST", path, Action(action="stop"), missing_ok=True, conflict_ok=True)

    def terminate(self, pod_id: str) -> None:
        self._repeat("DELETE", f"pods/{quote(pod_id, safe='')}", missing_ok=True)

    def logs(self, pod_id: str) -> Iterator[str]:
        """What is there already: the stream goes on for ever, and a pause of two seconds is taken for its end, or ten
        seconds in all."""
        ends_at = self._clock.monotonic() + LOG_LIMIT_S
        path = f"pods/{quote(pod_id, safe='')}/logs?source=container&tail=1000"
        try:
            with self._client.stream("GET", path, timeout=httpx2.Timeout(2.0, connect=CONNECT_S)) as response:
                if not response.is_success:
                    problem = self._problem(whole(response, self._clock.monotonic))
                    raise Unreachable(f"{self.name} gives no log of {pod_id}: {problem}")
                for line in lines(pieces(response, ends_at, self._clock.monotonic)):
                    if self._clock.monotonic() > ends_at:
                        return
                    if line.startswith(b"data:"):
                        yield LogEvent.model_validate_json(line.removeprefix(b"data:").strip()).line
        except (httpx2.ReadTimeout, TooMuch, ValidationError):
            return
        except httpx2.HTTPError as error:
            raise Unreachable(f"{self.name} gives no log of {pod_id}: {self._said(error)}") from error

    def _repeat(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        missing_ok: bool = False,
        conflict_ok: bool = False,
    ) -> Reply:
        """The answer to what may be asked again without harm. Raises Refused or, after ATTEMPTS, Unreachable."""
        allowed = {404} if missing_ok else set()
        allowed |= {409} if conflict_ok else set()
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                response = self._send(method, path, body)
            except httpx2.HTTPError as error:
                problem = self._said(error)
            else:
                status = response.status
                if response.is_success or status in allowed:
                    return response
                problem = f"{status} {self._problem(response)}"
                if status == 429:
                    self._wait(response, attempt)
                    continue
                if status < 500 and status != 408:
                    raise Refused(self._refusal(status, f"{method} {path}", self._problem(response)), status)
            if attempt + 1 < ATTEMPTS:
                self._clock.sleep(2.0**attempt)
        raise Unreachable(f"{self.name} did not answer {method} {path} in {ATTEMPTS} attempts: {problem}")

    def _send(self, method: str, path: str, body: BaseModel | None) -> Reply:
        content = None if body is None else body.model_dump_json(exclude_none=True)
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._client.stream(method, path, content=content, headers=headers) as response:
            return whole(response, self._clock.monotonic)

    def _wait(self, response: Reply, attempt: int) -> str:
        """Waits as long as the server asks. Raises Unreachable where that is too long."""
        asked = response.headers.get("retry-after", "")
        wait_s = float(asked) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", asked) else 2.0**attempt  # else a date
        if wait_s > MAX_WAIT_S:
            raise Unreachable(f"{self.name} asks to come back in {wait_s:g} s; nothing was done")
        self._clock.sleep(wait_s)
        return "429 too many requests"

    def _parsed(self, model: type[_Model], response: Reply) -> _Model:
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            raise self._not_understood(error) from error

    def _not_understood(self, error: ValidationError) -> Unreachable:
        what = error.errors()[0]
        where = ".".join(str(part) for part in what["loc"])
        return Unreachable(f"{self.name} answered something else than its API says: {where} {what['msg']}")

    def _problem(self, response: Reply) -> str:
        try:
            text = Problem.model_validate_json(response.content).text
        except ValidationError:
            text = ""
        return self._without_key(text or one_line(response.reason, 100))

    def _refusal(self, status: int, what: str, text: str) -> str:
        remedy = f" Check {KEY_VARIABLE}: it is wrong, has expired or lacks the right." if status in (401, 403) else ""
        return f"{self.name} refuses {what} ({status}): {text}.{remedy}"

    def _said(self, error: httpx2.HTTPError) -> str:
        return self._without_key(one_line(f"{type(error).__name__} {error}".strip(), 300))

    def _without_key(self, text: str) -> str:
        """A server may repeat what it was sent."""
        return text.replace(self._key, "***")
