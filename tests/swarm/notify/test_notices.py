"""What is worth telling, and how each service gets it. Values in, values out."""

import json
from typing import Any

import pytest
from factories.studies import FakeStudy

from swarm.errors import UsageError
from swarm.notify.address import parse_address
from swarm.notify.forms import event, message
from swarm.notify.notices import Notice, notices, worth_telling
from swarm.records import ProposalRejected, StudyClosed, Usage
from swarm.verdict import finals

HOSTILE = "<!channel> @everyone [free](http://evil.example) *x* `y` \u202e"
NOTICE = Notice("leader/t0007/9", "leader", 9, 5.0, "study-1", "swarm tiny: new leader", HOSTILE, {"value": 2.5})


def measured() -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    return fake


def kinds(fake: FakeStudy, max_usd: float | None = None, max_tokens: int | None = None) -> list[str]:
    return [notice.kind for notice in notices(fake.study, max_usd, max_tokens)]


def refusal(fake: FakeStudy, code: str, **usage: Any) -> None:
    spent = Usage(**usage) if usage else None
    fake.write(ProposalRejected(code=code, detail="401", proposer="openai", usage=spent))


def test_a_new_leader_is_told_as_a_lead_and_as_no_more() -> None:
    fake = measured()
    assert kinds(fake) == []
    fake.try_change(loss=2.0, description="set MAX_LR = 0.02")
    (told,) = notices(fake.study, None, None)
    assert told.kind == "leader" and told.fields["program"] == "t0006" and told.fields["value"] == 2.0
    assert "A lead, not yet shown to be real." in told.text and "set MAX_LR = 0.02" in told.text
    again = notices(fake.study, None, None)
    assert [one.id for one in again] == [told.id], "the same after a restart"


def test_of_several_leaders_the_newest_is_told() -> None:
    fake = measured()
    for loss in (2.1, 2.0, 1.9):
        fake.try_change(loss=loss)
    fake.write(StudyClosed(reason="all trials done"))
    pending = notices(fake.study, None, None)
    assert [notice.kind for notice in pending].count("leader") > 1
    told = worth_telling(pending)
    assert [notice.kind for notice in told] == ["leader", "stopped"]
    assert told[0].fields["value"] == 1.9


def test_the_finals_are_told_when_they_begin_and_with_what_they_decided() -> None:
    fake = measured()
    lucky = fake.try_change(loss=1.5, description="set MAX_LR = 0.02", agent_id="worker_2")
    opened = finals.begin(fake.study, 12)
    assert opened is not None
    fake.write(opened)
    (begun,) = [one for one in notices(fake.study, None, None) if one.kind == "finals"]
    assert f"{lucky} against the baseline: 12 runs on fresh seeds." in begun.text
    while owed := finals.where(fake.study, opened).owed:
        fake.finals_run(owed[0], {lucky: 2.0, "t0001": 2.3})
    for record in finals.close(fake.study, opened):
        fake.write(record)
    told = [one for one in notices(fake.study, None, None) if one.kind == "finals"]
    assert [one.id for one in told] == [begun.id, "finals/1/ended"] and told[1].fields["kept"] == 1.0
    assert f"{lucky} is kept: set MAX_LR = 0.02 (worker_2)." in told[1].text
    assert [one.kind for one in worth_telling(notices(fake.study, None, None))] == ["leader", "finals", "finals"]


def test_finals_that_keep_nothing_say_so() -> None:
    fake = measured()
    lucky = fake.try_change(loss=1.5)
    assert not fake.hold_finals(losses={lucky: 2.3, "t0001": 2.3}).kept
    told = [one for one in notices(fake.study, None, None) if one.kind == "finals"]
    assert told[1].text.startswith("Nothing is kept. ") and told[1].fields == {"kept": 0.0}


def test_the_end_says_why_and_what_came_of_it() -> None:
    fake = measured()
    fake.write(StudyClosed(reason="time is up"))
    (told,) = notices(fake.study, None, None)
    assert told.kind == "stopped" and told.text.startswith("time is up: 5 trials, 0 kept. Incumbent: t0001 at ")


@pytest.mark.parametrize("code", ["llm_auth", "llm_quota", "llm_config", "llm_budget"])
def test_a_model_that_somebody_has_to_look_after_is_told_once(code: str) -> None:
    fake = measured()
    refusal(fake, code)
    refusal(fake, code)
    refusal(fake, "llm_failed")
    assert kinds(fake) == ["person"]


def test_a_worker_that_was_given_up_needs_somebody_and_one_that_is_done_does_not() -> None:
    fake = measured()
    fake.status("worker_1", "stopped")
    assert kinds(fake) == []
    fake.write(fake.study.workers["worker_1"].model_copy(update={"description": "worker_1 died 6 times, given up: x"}))
    assert kinds(fake) == ["person"]


def test_eighty_percent_of_a_limit_is_told_once_a_limit() -> None:
    fake = measured()
    refusal(fake, "duplicate", usd=3.9, input_tokens=500, output_tokens=200)
    assert kinds(fake, 5.0, 1000) == []
    refusal(fake, "duplicate", usd=0.2, input_tokens=100, output_tokens=0)
    assert kinds(fake, 5.0, 1000) == ["spend", "spend"]
    assert kinds(fake, None, None) == []
    ids = {notice.id for limit in (4.5, 5.0) for notice in notices(fake.study, limit, None)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("text", "form", "name"),
    [
        ("https://hooks.slack.com/services/T0/B0/key", "slack", "slack at hooks.slack.com"),
        ("https://discord.com/api/webhooks/1/key", "discord", "discord at discord.com"),
        ("https://ntfy.sh/my-topic", "ntfy", "ntfy at ntfy.sh"),
        ("https://example.org:8443/hook?key=1", "json", "json at example.org:8443"),
        ("ntfy+http://127.0.0.1:9/topic", "ntfy", "ntfy at 127.0.0.1:9"),
        ("slack+https://example.org/key", "slack", "slack at example.org"),
    ],
)
def test_the_form_is_known_by_host_or_prefix_and_only_the_host_is_shown(text: str, form: str, name: str) -> None:
    address = parse_address(text)
    assert (address.form, address.name) == (form, name)
    assert "key" not in repr(address) and "topic" not in repr(address)


@pytest.mark.parametrize(
    "text", ["secretpath", "ftp://host/secretpath", "https:///secretpath", "https://ho st/secretpath",
             "https://[::1/secretpath", "https://host:99999/secretpath", "https://h/secretpath\r\nX: y"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(text)
    assert "--notify" in str(refused.value) and "secretpath" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_ntfy_server_needs_a_topic() -> None:
    with pytest.raises(UsageError, match="without a topic"):
        parse_address("https://ntfy.sh/")


def body(text: str) -> dict[str, Any]:
    fields = json.loads(message(parse_address(text), NOTICE).body)
    assert isinstance(fields, dict)
    return fields


def test_slack_gets_a_text_in_which_nobody_is_called() -> None:
    assert "&lt;!channel&gt;" in body("https://hooks.slack.com/x")["text"]


def test_discord_gets_a_text_without_mentions_links_or_marks() -> None:
    sent = body("https://discord.com/api/webhooks/1/x")
    assert sent["allowed_mentions"] == {"parse": []}
    assert "\\[free\\]\\(http\\://evil" in sent["content"] and "\\@everyone" in sent["content"]


def test_ntfy_gets_its_topic_and_no_header() -> None:
    sent = message(parse_address("https://user:pass@host/deep/my%20topic?auth=1"), NOTICE)
    assert sent.url == "https://host/deep/my%20topic?auth=1", "json without the prefix"
    sent = message(parse_address("ntfy+https://user:pass@host/deep/my%20topic?auth=1"), NOTICE)
    assert sent.url == "https://host/deep/?auth=1" and json.loads(sent.body)["topic"] == "my topic"
    assert parse_address("https://user:pass@host/x").authorization == "Basic dXNlcjpwYXNz"


def test_json_holds_the_event_and_its_facts() -> None:
    fields = event(NOTICE)
    assert (fields["event"], fields["id"], fields["value"]) == ("leader", "study-1/leader/t0007/9", 2.5)
    assert fields == body("https://example.org/hook")
