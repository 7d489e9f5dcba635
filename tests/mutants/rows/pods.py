"""Rented machines: never two pods, never a paid minute that nobody allowed, nothing lost on the way home."""

from mutants.safeguard import Edit, Safeguard

_RENTING = "swarm/pods/test_pod_renting.py::"
_MONEY = "swarm/pods/test_pod_money.py::"
_FOLLOWING = "swarm/pods/test_pod_following.py::"
_RECONCILING = "swarm/pods/test_pod_reconciling.py::"
_CLIENT = "swarm/pods/test_runpod_client.py::"
_LAUNCHING = "swarm/pods/test_pod_launching.py::"
_KILLED = f"{_RENTING}test_killed_at_any_step_and_started_again_there_is_one_pod"

ROWS = (
    Safeguard(
        "rent-ledger-before-request",
        "the ledger has the request before it goes out",
        Edit(
            "swarm/pods/renting.py",
            "                deadline_at=deadline_at,\n            )\n        )\n",
            "                deadline_at=deadline_at,\n            )\n        ) if False else None\n",
        ),
        (_KILLED, f"{_RENTING}test_the_ledger_is_written_before_the_request"),
    ),
    Safeguard(
        "rent-list-before-again",
        "after a lost reply the list is read before anything is asked for again",
        Edit(
            "swarm/pods/renting.py",
            "            found = _settled(renting, name)\n            if found is not None:\n                return found\n            continue",
            "            continue",
        ),
        (f"{_RENTING}test_a_lost_reply_makes_no_second_pod",),
    ),
    Safeguard(
        "rent-list-waits",
        "a pod that is listed late is waited for",
        Edit("swarm/pods/renting.py", "LOOK_AFTER_S = (0.0, 2.0, 4.0, 8.0, 16.0)", "LOOK_AFTER_S = (0.0,)"),
        (f"{_RENTING}test_a_pod_that_is_listed_late_is_waited_for",),
    ),
    Safeguard(
        "rent-request-remembered",
        "a process that comes later looks for the pod of a request without an answer",
        Edit(
            "swarm/pods/renting.py",
            "    if not rental.may_exist:\n        return None\n",
            "    if rental.may_exist:\n        return None\n",
        ),
        (_KILLED, f"{_RENTING}test_a_provider_that_goes_silent_after_a_lost_reply_leaves_the_rental_open"),
    ),
    Safeguard(
        "rent-create-asked-once",
        "a create whose fate is unknown is not repeated by the client",
        Edit(
            "swarm/pods/runpod/client.py",
            "            except _NOT_SENT as error:",
            "            except httpx2.TransportError as error:",
        ),
        (f"{_CLIENT}test_a_create_that_failed_is_asked_once_and_named",),
    ),
    Safeguard(
        "rent-second-one-ended",
        "a second pod of one name is ended by whoever follows",
        Edit("swarm/pods/following.py", "            self.renting.pods.terminate(extra.id)\n", ""),
        (f"{_FOLLOWING}test_a_second_pod_of_its_name_is_ended",),
    ),
    Safeguard(
        "rent-second-one-reconciled",
        "a second pod of one name is ended by the reconciler",
        Edit("swarm/pods/reconciling.py", "                renting.pods.terminate(extra.id)\n", ""),
        (f"{_RECONCILING}test_a_second_pod_of_one_name_is_ended",),
    ),
    Safeguard(
        "rent-dearer-ended",
        "a pod that costs more than its offer is ended at once",
        Edit("swarm/pods/renting.py", "        renting.pods.terminate(pod.id)\n        message", "        message"),
        (f"{_RENTING}test_a_price_that_is_higher_than_the_offer_ends_the_pod_at_once",),
    ),
    Safeguard(
        "rent-max-usd",
        "a pod lives no longer than its money lasts, grace and margin included",
        Edit(
            "swarm/pods/caps.py",
            "return min(by_hours, self.max_usd / dearest(price_usd_h) * 3600 - GRACE_S)",
            "return by_hours",
        ),
        (f"{_MONEY}test_a_life_with_its_grace_never_costs_more_than_the_limit",),
    ),
    Safeguard(
        "rent-max-price",
        "no card above --max-price is tried",
        Edit(
            "swarm/pods/caps.py",
            "caps.max_price_usd_h is not None and offer.price_usd_h",
            "caps.max_price_usd_h is not None and -offer.price_usd_h",
        ),
        (f"{_MONEY}test_cards_are_tried_in_the_persons_order_and_the_cheaper_cloud_first",),
    ),
    Safeguard(
        "rent-deadline-followed",
        "whoever follows ends a pod whose deadline is past",
        Edit("swarm/pods/following.py", 'return self._terminated("its deadline is past") if', "return None if"),
        (f"{_FOLLOWING}test_nothing_is_paid_after_the_deadline_and_its_grace",),
    ),
    Safeguard(
        "rent-never-started",
        "a pod that never starts is ended",
        Edit(
            "swarm/pods/following.py",
            "if self.pod.state is PodState.STARTING and self._since(self._made_at)",
            "if self.pod.state is PodState.STARTING and -self._since(self._made_at)",
        ),
        (f"{_FOLLOWING}test_a_pod_that_never_starts_is_ended",),
    ),
    Safeguard(
        "rent-left-running",
        "a pod that does not end itself when all is home is ended",
        Edit(
            "swarm/pods/following.py",
            'return self._terminated("all is home, and it did not end itself")',
            "return None",
        ),
        (f"{_FOLLOWING}test_a_pod_that_does_not_end_itself_is_ended_when_all_is_home",),
    ),
    Safeguard(
        "rent-home-before-acknowledged",
        "a pod is told that all is home only when it is",
        Edit(
            "swarm/pods/following.py",
            '            failpoint("follow.before_collect")\n',
            '            _put_text(reach, COLLECTED, "{}")\n',
        ),
        (f"{_FOLLOWING}test_what_fails_on_the_way_home_is_tried_again_and_all_is_not_home_before",),
    ),
    Safeguard(
        "rent-disk-kept",
        "a stopped pod keeps its disk until its results are home",
        Edit("swarm/pods/following.py", "if self._all_home or self.rental.collected_at is not None:", "if True:"),
        (f"{_FOLLOWING}test_a_pod_that_dies_twice_is_left_stopped_and_named",),
    ),
    Safeguard(
        "rent-unreached-kept",
        "a pod past its deadline that cannot be reached keeps its disk",
        Edit(
            "swarm/pods/following.py", "if self.collected else self._put_to_rest()", "if True else self._put_to_rest()"
        ),
        (f"{_FOLLOWING}test_a_pod_past_its_deadline_that_cannot_be_reached_keeps_its_disk",),
    ),
    Safeguard(
        "rent-started-for-results",
        "a pod that is started for its results is not ended before they are home",
        Edit("swarm/pods/following.py", " and not self._started_for_results():", ":"),
        (f"{_FOLLOWING}test_a_pod_that_stopped_past_its_deadline_is_started_for_its_results_and_billed_for_it",),
    ),
    Safeguard(
        "rent-overdue-named",
        "a pod past its deadline is named with its cost",
        Edit("swarm/pods/ledger.py", "now > self.deadline_at + GRACE_S", "False"),
        (f"{_RECONCILING}test_a_pod_past_its_deadline_is_named_with_its_cost",),
    ),
    Safeguard(
        "rent-orphan-named",
        "a pod of ours that nobody waits for is named",
        Edit(
            "swarm/pods/reconciling.py",
            "    found += [Account(pod.name, Standing.ORPHAN, pod, None, _since(pod, now)) for pod in strangers]\n",
            "",
        ),
        (f"{_RECONCILING}test_a_pod_that_no_ledger_here_knows_is_an_orphan",),
    ),
    Safeguard(
        "rent-others-untouched",
        "a pod that is not ours is neither listed nor ended",
        Edit("swarm/pods/runpod/client.py", " if one.name.startswith(NAME_PREFIX)]", "]"),
        (
            f"{_CLIENT}test_only_pods_of_ours_are_listed",
            f"{_RECONCILING}test_a_pod_that_no_ledger_here_knows_is_an_orphan",
        ),
    ),
    Safeguard(
        "rent-key-over-https",
        "the key goes over https only",
        Edit("swarm/pods/runpod/client.py", 'if parts.scheme != "https" and', "if False and"),
        (f"{_CLIENT}test_a_key_goes_nowhere_but_into_its_header",),
    ),
    Safeguard(
        "rent-key-out-of-messages",
        "a server that repeats the key gets it into no message",
        Edit("swarm/pods/runpod/client.py", 'return text.replace(self._key, "***")', "return text"),
        (f"{_CLIENT}test_a_server_that_repeats_the_key_gets_it_into_no_message",),
    ),
    Safeguard(
        "rent-secrets-by-name",
        "a secret goes to the provider as a reference",
        Edit(
            "swarm/pods/runpod/wire.py",
            'return f"{{{{ RUNPOD_SECRET_{value.secret} }}}}" if isinstance(value, SecretRef) else value',
            "return value.secret if isinstance(value, SecretRef) else value",
        ),
        (f"{_CLIENT}test_a_pod_is_made_read_stopped_started_and_ended",),
    ),
    Safeguard(
        "rent-key-in-an-option",
        "an order that would hold a key of this machine is refused",
        Edit("swarm/pods/launching.py", "len(value) >= MIN_SECRET and value in text", "False"),
        (f"{_LAUNCHING}test_a_key_in_an_option_is_refused",),
    ),
    Safeguard(
        "rent-committed-only",
        "nothing is rented for code that the pod would not get",
        Edit("swarm/pods/launching.py", "    if changed:\n", "    if False:\n"),
        (f"{_LAUNCHING}test_what_is_not_committed_is_named_before_anything_is_paid",),
    ),
    Safeguard(
        "rent-words-checked",
        "a word that swarm up does not know is refused before anything is paid",
        Edit(
            "swarm/cli/pod.py",
            '        commands["up"].make_context("swarm up", list(context.args))\n',
            "        pass\n",
        ),
        (f"{_LAUNCHING}test_a_word_that_swarm_up_does_not_know_is_refused_before_anything_is_paid",),
    ),
    Safeguard(
        "rent-asked-in-two-seconds",
        "a study waits two seconds at most for what costs money",
        Edit("swarm/pods/registry.py", "found.get(timeout=max(0.0, ends_at - time.monotonic()))", "found.get()"),
        (f"{_LAUNCHING}test_a_study_is_told_what_costs_money_and_waits_two_seconds_at_most",),
    ),
    Safeguard(
        "rent-ledger-torn-line",
        "a torn line of the ledger costs only itself",
        Edit("swarm/pods/ledger.py", 'line = b"\\n" + line if torn else line', "line = line"),
        (f"{_MONEY}test_a_torn_or_foreign_line_is_passed_over_and_nothing_is_lost",),
    ),
)
