"""The client of the API v2 against a real server: what is sent, what is tried again, what a status means."""

import json

import pytest
from fakes.pod_cloud import CARD, KEY, client, creates, living, order, paper_cloud

from swarm.pods.fake.faults import Fault
from swarm.pods.provider import (
    NoCapacity,
    PaymentRequired,
    PodState,
    Refused,
    ReplyLost,
    SecretRef,
    Unreachable,
)
from swarm.pods.reconciling import Account, Standing
from swarm.pods.runpod import RunpodPods
from swarm.pods.runpod.client import key_of
from swarm.pods.runpod.reply import Reply
from swarm.pods.runpod.wire import STATES, GpuType, PodReply


def test_a_pod_is_made_read_stopped_started_and_ended() -> None:
    with paper_cloud() as (server, clock):
        pods = client(server, clock)
        made = pods.create(order(env={"PLAIN": 'a "quoted"\nvalue', "OPENAI_API_KEY": SecretRef(secret="openai")}))
        assert (made.name, made.card, made.price_usd_h) == ("swarm-study-1", CARD, 0.69)
        assert [pod.state for pod in pods.list()] == [PodState.RUNNING]
        pods.stop(made.id)
        pods.stop(made.id)  # a conflict is no error: it is stopped
        assert (pods.get(made.id).state, pods.get(made.id).price_usd_h) == (PodState.STOPPED, None)
        pods.start(made.id)
        pods.terminate(made.id)
        pods.terminate(made.id)
        assert (pods.get(made.id), pods.list(), living(server)) == (None, [], [])
        body = server.requests[0]["body"]
        assert body["env"] == {"PLAIN": 'a "quoted"\nvalue', "OPENAI_API_KEY": "{{ RUNPOD_SECRET_openai }}"}
        assert body["mounts"] == {"persistent": {"size": 20, "path": "/workspace"}}
        assert all(request["allowed"] for request in server.requests)


def test_a_volume_takes_the_place_of_the_pods_own_disk() -> None:
    with paper_cloud() as (server, clock):
        client(server, clock).create(order(volume="vol_1"))
        assert server.requests[0]["body"]["mounts"] == {"network": [{"volumeId": "vol_1", "path": "/workspace"}]}


def test_the_catalogue_gives_both_clouds_the_cheaper_first() -> None:
    with paper_cloud() as (server, clock):
        offers = client(server, clock).offers("rtx 4090")
        assert [(one.cloud, one.price_usd_h, one.stock) for one in offers] == [
            ("community", 0.34, "high"),
            ("secure", 0.69, "high"),
        ]
        assert client(server, clock).offers("no such card") == []
    nothing = GpuType.model_validate({"id": "x", "price": {"secure": 0, "community": 1}, "community": False})
    assert (nothing.offer("secure"), nothing.offer("community")) == (None, None)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(on="create", what="no_capacity"), NoCapacity),
        (Fault(on="create", what="status", status=402), PaymentRequired),
        (Fault(on="create", what="status", status=403), Refused),
        (Fault(on="create", what="status", status=422), Refused),
        (Fault(on="create", what="status", status=401), Refused),
        (Fault(on="create", what="status", status=500), ReplyLost),
        (Fault(on="create", what="done_status", status=502), ReplyLost),
        (Fault(on="create", what="lost_reply"), ReplyLost),
        (Fault(on="create", what="late_reply", seconds=0.6), ReplyLost),
        (Fault(on="create", what="drop"), ReplyLost),
    ],
    ids=lambda value: value.what + str(value.status) if isinstance(value, Fault) else value.__name__,
)
def test_a_create_that_failed_is_asked_once_and_named(fault: Fault, error: type[Exception]) -> None:
    with paper_cloud(fault) as (server, clock), pytest.raises(error):
        client(server, clock, read_s=0.3).create(order())
    assert creates(server) == 1


def test_too_many_requests_are_waited_for_as_long_as_the_server_says() -> None:
    with paper_cloud(Fault(on="create", what="status", status=429, retry_after="7", times=2)) as (server, clock):
        client(server, clock).create(order())
        assert (creates(server), clock.monotonic(), len(living(server))) == (3, 14.0, 1)
    with paper_cloud(Fault(on="create", what="status", status=429, retry_after="3600")) as (server, clock):
        with pytest.raises(Unreachable, match="3600 s"):
            client(server, clock).create(order())
        assert creates(server) == 1


@pytest.mark.parametrize("what", ["status", "drop"])
def test_what_reads_or_ends_is_asked_again(what: str) -> None:
    faults = [Fault(on=place, what=what, times=2) for place in ("list", "delete")]
    with paper_cloud(*faults) as (server, clock):
        pods = client(server, clock)
        made = pods.create(order())
        assert [pod.id for pod in pods.list()] == [made.id]
        pods.terminate(made.id)
        assert living(server) == [] and clock.monotonic() == 6.0
    with paper_cloud(Fault(on="list", what=what, times=0)) as (server, clock), pytest.raises(Unreachable):
        client(server, clock).list()


def test_nobody_answers() -> None:
    with paper_cloud() as (server, clock):
        pods = client(server, clock)
    with pytest.raises(Unreachable, match="nothing was rented"):
        pods.create(order())
    with pytest.raises(Unreachable):
        pods.list()


def test_a_key_goes_nowhere_but_into_its_header(tmp_path) -> None:
    with pytest.raises(Refused, match="https only"):
        RunpodPods(KEY, None, "http://example.org/v2")
    with paper_cloud() as (server, clock):
        wrong = RunpodPods("rpa_wrong_key_rpa_wrong", clock, server.url)
        with pytest.raises(Refused, match="401") as refused:
            wrong.list()
        assert "rpa_wrong" not in str(refused.value)
    assert key_of({}) is None
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert key_of({"RUNPOD_API_KEY_FILE": str(tmp_path / "key")}) == KEY == key_of({"RUNPOD_API_KEY": KEY})
    with pytest.raises(Refused, match="cannot be read"):
        key_of({"RUNPOD_API_KEY_FILE": str(tmp_path / "none")})


def test_a_server_that_repeats_the_key_gets_it_into_no_message() -> None:
    with paper_cloud() as (server, clock):
        pods = client(server, clock)
        assert pods._without_key(f"bad header Bearer {KEY}") == "bad header Bearer ***"


def test_only_pods_of_ours_are_listed() -> None:
    with paper_cloud() as (server, clock):
        server.cloud.create({"name": "somebody-else", "gpu": {"id": CARD}}, 0.5)
        assert client(server, clock).list() == []


def test_the_log_is_read_to_its_end() -> None:
    with paper_cloud() as (server, clock):
        pods = client(server, clock)
        assert list(pods.logs(pods.create(order()).id)) == ["one", "two"]


def test_every_status_of_the_api_has_a_state_and_an_unknown_one_costs() -> None:
    assert set(STATES) == {"PROVISIONING", "STARTING", "RUNNING", "EXITED", "ERROR", "TERMINATED"}
    for status in ("ERROR", "SOMETHING_NEW"):
        pod = PodReply.model_validate({"id": "a", "name": "swarm-a", "status": status, "cost": 0.5}).pod()
        assert pod.state.costs and pod.price_usd_h == 0.5


def test_an_answer_that_is_not_of_the_api_is_no_answer() -> None:
    with paper_cloud() as (server, clock):
        pods = client(server, clock)
        answering(pods, b'"<html>"')
        with pytest.raises(Unreachable, match="something else"):
            pods.list()
        with pytest.raises(ReplyLost, match="not understood"):
            pods.create(order())


def answering(pods: RunpodPods, body: bytes) -> RunpodPods:
    pods._send = lambda *_: Reply(200, body, {}, "OK")  # type: ignore[method-assign]
    return pods


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"pods": null}', b"[]", b"null", b'{"pods": {}}', b"\xff", b'{"pods": [{"name": "swarm-a"}]}'],
)
def test_a_list_that_is_not_one_does_not_say_that_nothing_is_there(body: bytes) -> None:
    with paper_cloud() as (server, clock), pytest.raises(Unreachable, match="something else"):
        answering(client(server, clock), body).list()


def test_an_odd_pod_hides_no_pod_of_ours() -> None:
    ours = {"id": "1", "name": "swarm-a", "status": "RUNNING"}
    odd = [{**ours, "name": None}, {}, None, 7, {"name": "other", "status": []}]
    with paper_cloud() as (server, clock):
        (pod,) = answering(client(server, clock), json.dumps({"pods": [*odd, ours]}).encode()).list()
    assert pod.id == "1"


@pytest.mark.parametrize(
    "odd",
    [
        {"ssh": None},
        {"ssh": {"direct": {"host": "1.2.3.4", "port": None}}},
        {"ssh": {"direct": {"host": "1.2.3.4", "port": 0}}},
        {"ssh": {"direct": {"host": "", "port": 99999}}},
        {"ssh": "root@host"},
        {"gpu": [], "cost": "much", "createdAt": "yesterday"},
        {"cost": float("nan"), "new field": {"of": "the API"}},
    ],
)
def test_what_is_not_understood_of_a_pod_is_not_known(odd: dict[str, object]) -> None:
    body = json.dumps({"id": "1", "name": "swarm-a", "status": "RUNNING", **odd}).encode()
    with paper_cloud() as (server, clock):
        pods = answering(client(server, clock), body)
        made = pods.create(order())
        assert (made.id, made.ssh, made.price_usd_h, made.created_at) == ("1", None, None, None)
        assert pods.get("1") == made


@pytest.mark.parametrize(
    "ssh", [{"direct": {"host": "h", "port": 22001}}, {"host": "h", "port": 22001, "username": "u"}]
)
def test_an_address_is_read_as_the_schema_has_it_and_as_the_examples_have_it(ssh: dict[str, object]) -> None:
    pod = PodReply.model_validate({"id": "1", "name": "swarm-a", "status": "RUNNING", "ssh": ssh}).pod()
    assert pod.ssh is not None and (pod.ssh.host, pod.ssh.port) == ("h", 22001)


@pytest.mark.parametrize(
    "asked", ["Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "\xb2", "1e9", "nan", "", "."]
)
def test_a_time_to_come_back_that_is_no_number_is_a_second(asked: str) -> None:
    with paper_cloud(Fault(on="create", what="status", status=429, retry_after=asked)) as (server, clock):
        client(server, clock).create(order())
        assert (creates(server), clock.monotonic(), len(living(server))) == (2, 1.0, 1)


def test_a_time_out_of_a_gateway_may_have_made_a_pod() -> None:
    with paper_cloud(Fault(on="create", what="done_status", status=408)) as (server, clock), pytest.raises(ReplyLost):
        client(server, clock).create(order())


def test_a_log_that_never_pauses_is_read_for_a_while() -> None:
    with paper_cloud() as (server, clock):
        pods = client(server, clock)
        made = pods.create(order())
        server.cloud.machine.log = lambda pod_id: "again\n" * 1000  # type: ignore[method-assign]
        read = 0
        for _ in pods.logs(made.id):
            clock.advance(1)
            read += 1
        assert read == 11


ESCAPES = "\x1b[2J\x1b]0;title\x07\u202e\r\n\x9b31m"


def test_what_a_provider_calls_things_is_safe_to_print() -> None:
    """A pod's name is whatever somebody with the account has called it."""
    named = {"id": "1", "name": f"swarm-a{ESCAPES}" + "n" * 1000, "status": "RUNNING", "gpu": {"id": f"card{ESCAPES}"}}
    body = json.dumps({"pods": [{**named, "ssh": {"host": f"h{ESCAPES}", "port": 22, "username": f"u{ESCAPES}"}}]})
    with paper_cloud() as (server, clock):
        (pod,) = answering(client(server, clock), body.encode()).list()
    shown = f"{pod.name} {pod.card} {pod.ssh} {Account(pod.name, Standing.ORPHAN, pod, None, None).line()}"
    assert shown.isprintable() and pod.name.startswith("swarm-a") and len(pod.name) <= 200


@pytest.mark.parametrize("odd", ["", "a\nb", f"1{ESCAPES}", "a b", "x" * 201])
def test_an_id_that_is_none_is_not_understood_rather_than_changed(odd: str) -> None:
    """It goes back to the provider: one that is not the pod's own would say that the pod is gone."""
    body = json.dumps({"pods": [{"id": odd, "name": "swarm-a", "status": "RUNNING"}]}).encode()
    with paper_cloud() as (server, clock), pytest.raises(Unreachable, match="something else") as error:
        answering(client(server, clock), body).list()
    assert str(error.value).isprintable()


def test_what_a_provider_says_is_wrong_is_safe_to_print() -> None:
    with paper_cloud() as (server, clock):
        pods = client(server, clock)
        for content in (json.dumps({"detail": f"no{ESCAPES}"}).encode(), b"<html>"):
            pods._send = lambda *_, content=content: Reply(403, content, {}, f"Forbidden{ESCAPES}")  # type: ignore[method-assign]
            with pytest.raises(Refused) as refused:
                pods.list()
            assert str(refused.value).isprintable()
