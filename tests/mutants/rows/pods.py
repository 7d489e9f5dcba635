"""Rented machines: never two pods, never a paid minute that nobody allowed, nothing lost on the way home."""

from mutants.safeguard import Edit, Safeguard

_RENTING = "swarm/pods/test_pod_renting.py::"
_MONEY = "swarm/pods/test_pod_money.py::"
_FOLLOWING = "swarm/pods/test_pod_following.py::"
_RECONCILING = "swarm/pods/test_pod_reconciling.py::"
_CLIENT = "swarm/pods/test_runpod_client.py::"
_LAUNCHING = "swarm/pods/test_pod_launching.py::"
_UNCLEAR = "swarm/pods/test_pod_unclear.py::"
_BODY = "swarm/pods/test_runpod_reply.py::"
_PROVIDER, _REPLY = "swarm/pods/provider.py", "swarm/pods/runpod/reply.py"
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
        Edit("swarm/pods/reconciling.py", "            renting.pods.terminate(extra.id)\n", ""),
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
            '            put_text(reach, COLLECTED, "{}")\n',
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
        Edit(
            "swarm/pods/following.py",
            "        return past and not self._started_for_results()\n",
            "        return past\n",
        ),
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
        Edit(
            "swarm/pods/runpod/wire.py",
            "isinstance(name, str) and name.startswith(NAME_PREFIX)",
            "isinstance(name, str)",
        ),
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
        Edit("swarm/pods/unspoken.py", "len(value) >= MIN_SECRET and value in text", "False"),
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
    Safeguard(
        "rent-gone-asked-for",
        "a pod that a list leaves out is asked for by its id before it counts as gone",
        Edit("swarm/pods/following.py", "own or unlisted(self.renting, self.rental, seen=self._seen)", "own"),
        (f"{_UNCLEAR}test_a_pod_that_a_list_leaves_out_is_not_gone",),
    ),
    Safeguard(
        "rent-gone-several-times",
        "a pod is gone when the provider has said so several times",
        Edit(
            "swarm/pods/renting.py",
            "GONE_AFTER_S, GONE_WHEN_NEW_S = (0.0, 2.0, 4.0), (0.0, 4.0, 8.0, 16.0, 32.0)",
            "GONE_AFTER_S = GONE_WHEN_NEW_S = (0.0,)",
        ),
        (
            f"{_UNCLEAR}test_a_pod_that_is_neither_listed_nor_known_once_is_not_gone",
            f"{_UNCLEAR}test_a_new_pod_that_the_provider_shows_late_is_waited_for",
        ),
    ),
    Safeguard(
        "rent-gone-reconciled",
        "the reconciler asks for a pod that its list does not have",
        Edit("swarm/pods/reconciling.py", "pod = unlisted(renting, rental, seen=False)", "pod = None"),
        (f"{_UNCLEAR}test_a_pod_that_was_made_since_it_was_listed_is_not_booked_as_ended",),
    ),
    Safeguard(
        "rent-own-known-first",
        "whoever follows a rental looks for the pod of its lost request before it ends others of that name",
        Edit("swarm/pods/launching.py", "looked_up(self.renting, self.rental.name)", "self.rental"),
        (f"{_UNCLEAR}test_a_renter_killed_before_the_answer_finds_its_pod_and_ends_nothing",),
    ),
    Safeguard(
        "rent-turn-goes-on",
        "a termination that finds no answer is asked again",
        Edit(
            "swarm/pods/following.py",
            '            except Unreachable as error:\n                self._say(f"No answer',
            '            except NoCapacity as error:\n                self._say(f"No answer',
        ),
        (f"{_UNCLEAR}test_a_termination_that_finds_no_answer_is_asked_again_at_the_next_turn",),
    ),
    Safeguard(
        "rent-not-stopped-ended",
        "a pod past its deadline that cannot be stopped is ended",
        Edit(
            "swarm/pods/following.py",
            '        except Refused as refused:\n            self._say(f"It cannot be stopped',
            '        except NoCapacity as refused:\n            self._say(f"It cannot be stopped',
        ),
        (f"{_UNCLEAR}test_a_pod_past_its_deadline_that_cannot_be_stopped_is_ended[refused]",),
    ),
    Safeguard(
        "rent-stop-looked-at",
        "a pod that was asked to stop and goes on is ended",
        Edit("swarm/pods/following.py", "if there is not None and there.state.costs:", "if there is None:"),
        (f"{_UNCLEAR}test_a_pod_past_its_deadline_that_cannot_be_stopped_is_ended[not-done]",),
    ),
    Safeguard(
        "rent-failed-ended",
        "a pod that has failed and answers nobody is not paid until its deadline",
        Edit("swarm/pods/following.py", "if self.pod.state is PodState.FAILED and", "if False and"),
        (f"{_UNCLEAR}test_a_pod_that_failed_and_answers_nobody_is_not_paid_until_its_deadline",),
    ),
    Safeguard(
        "rent-deadline-after-collecting",
        "the deadline is looked at after what is brought home, which may take long",
        Edit("swarm/pods/following.py", "return self._must_end(self._now)", "return self._must_end(now)"),
        (f"{_UNCLEAR}test_bringing_home_that_takes_long_puts_no_deadline_off",),
    ),
    Safeguard(
        "rent-stopped-by-a-person",
        "a pod that a person has stopped is not started by who follows it",
        Edit("swarm/pods/following.py", "if self.renting.ledger.rentals()[self.rental.name].stopped:", "if False:"),
        (f"{_UNCLEAR}test_a_pod_that_a_person_has_stopped_is_not_started_by_who_follows",),
    ),
    Safeguard(
        "rent-one-repository-one-pod",
        "two commands at once in one repository rent one pod",
        Edit("swarm/cli/rented.py", "with ledger.alone(repository_lock(repo.root)):", "if True:"),
        (f"{_UNCLEAR}test_two_commands_at_once_in_one_repository_rent_one_pod",),
    ),
    Safeguard(
        "rent-odd-pod-passed-over",
        "what a provider says of somebody else's pod, or of an address, makes no pod of ours invisible",
        Edit("swarm/pods/runpod/wire.py", "for one in self.pods if _is_ours(one)]", "for one in self.pods]"),
        (f"{_CLIENT}test_an_odd_pod_hides_no_pod_of_ours",),
    ),
    Safeguard(
        "rent-log-ends",
        "a log that never pauses is read for ten seconds",
        Edit("swarm/pods/runpod/client.py", "if self._clock.monotonic() > ends_at:", "if False:"),
        (f"{_CLIENT}test_a_log_that_never_pauses_is_read_for_a_while",),
    ),
    Safeguard(
        "rent-notify-unspoken",
        "an option of the study that is a key in itself goes into no order",
        Edit("swarm/pods/wish.py", "        check_words(self.up)\n", ""),
        (f"{_LAUNCHING}test_a_secret_in_an_option_is_refused_and_shown_nowhere",),
    ),
    Safeguard(
        "rent-address-unspoken",
        "an address with a password in it goes into no order",
        Edit("swarm/pods/unspoken.py", "    if _IN_AN_ADDRESS.search(text) is not None:", "    if False:"),
        (f"{_LAUNCHING}test_a_secret_in_an_option_is_refused_and_shown_nowhere",),
    ),
    Safeguard(
        "rent-names-safe-to-print",
        "what a provider calls a pod is made safe to print where it comes in",
        Edit(_PROVIDER, "BeforeValidator(lambda value: one_line(value, 200)", "BeforeValidator(lambda value: value"),
        (f"{_CLIENT}test_what_a_provider_calls_things_is_safe_to_print",),
    ),
    Safeguard(
        "rent-ids-plain",
        "a pod's id that is no plain word is refused, and not changed into another pod's",
        Edit(_PROVIDER, 'PodId = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]', "PodId = str"),
        (f"{_CLIENT}test_an_id_that_is_none_is_not_understood_rather_than_changed",),
    ),
    Safeguard(
        "rent-answer-bounded",
        "a provider's answer is read up to a limit, however much it sends",
        Edit(_REPLY, "        if left < 0:\n", "        if False:\n"),
        (f"{_BODY}test_a_body_without_an_end_is_no_answer_and_is_not_read_to_it",),
    ),
    Safeguard(
        "rent-answer-bounded-unpacked",
        "a small answer that unpacks to a large one is unpacked piece by piece",
        Edit(_REPLY, "inflating.decompress(rest, _PIECE_BYTES)", "inflating.decompress(rest)"),
        (f"{_BODY}test_a_small_body_that_becomes_a_large_one_is_not_unpacked",),
    ),
    Safeguard(
        "rent-answer-in-time",
        "an answer that drips has an end",
        Edit(_REPLY, "        if monotonic() > ends_at:\n", "        if False:\n"),
        (f"{_BODY}test_a_body_that_drips_has_an_end",),
    ),
    Safeguard(
        "rent-refused-turn-goes-on",
        "a provider that refuses to list ends no follower",
        Edit(
            "swarm/pods/following.py",
            "            except Refused as error:\n",
            "            except NoCapacity as error:\n",
        ),
        (f"{_UNCLEAR}test_a_provider_that_refuses_to_list_ends_no_follower_and_is_asked_seldom",),
    ),
    Safeguard(
        "rent-refused-rests",
        "a provider that has refused is asked once a minute",
        Edit(
            "swarm/pods/following.py",
            "        if self.renting.clock.monotonic() >= self._rests_until:",
            "        if True:",
        ),
        (f"{_UNCLEAR}test_a_provider_that_refuses_to_list_ends_no_follower_and_is_asked_seldom",),
    ),
    Safeguard(
        "rent-deadline-without-a-list",
        "a pod is given back past its deadline also while the provider lists nothing",
        Edit("swarm/pods/following.py", "        if self._is_past_deadline(self._now):\n", "        if False:\n"),
        (f"{_UNCLEAR}test_a_provider_that_refuses_to_list_puts_no_deadline_off",),
    ),
)
