"""The watchdog of a pod: no paid minute without use, whatever becomes of the study and the renter."""

from mutants.safeguard import Edit, Safeguard

_WATCHDOG = "swarm/pods/test_watchdog.py::"
_LEAVE = "swarm/pods/test_leave.py::"
_ENTRY = "swarm/pods/test_pod_entry.py::"
_ENDING = "swarm/pods/inside/ending.py"
_LIFE = "swarm/pods/inside/life.py"
_RULES = "swarm/pods/inside/rules.py"
_LEAVING = "swarm/pods/inside/leave.py"

ROWS = (
    Safeguard(
        "pod-leaves-at-its-deadline",
        "whatever hangs at the end of its time, the pod leaves",
        Edit(_ENDING, "        if left_s <= 0 and not self._again and", "        if False and"),
        (f"{_WATCHDOG}test_what_hangs_until_for_ever_costs_no_minute_after_the_deadline",),
    ),
    Safeguard(
        "pod-ends-before-its-deadline",
        "results are made and fetched before the time is up",
        Edit(_RULES, "    if facts.left_s <= closing_s(order):\n", "    if facts.left_s <= 0:\n"),
        (f"{_WATCHDOG}test_the_pod_is_gone_at_its_deadline_with_its_results_made_before",),
    ),
    Safeguard(
        "pod-study-ends-first",
        "a study knows an end that is before that of its pod",
        Edit("swarm/pods/entry.py", "left_s - closing_s(self.order)", "left_s"),
        (f"{_ENTRY}test_a_study_knows_an_end_that_is_before_that_of_its_pod",),
    ),
    Safeguard(
        "pod-wall-deadline",
        "a pod that began late gets no extra time",
        Edit(_LIFE, " if self.wall_counts else paid", " if False else paid"),
        (f"{_WATCHDOG}test_a_pod_that_began_late_gets_no_extra_time",),
    ),
    Safeguard(
        "pod-length-on-a-clock-never-set",
        "a clock that is set back gives no time",
        Edit(_LIFE, "min(paid, order.deadline_at - clock.now())", "order.deadline_at - clock.now()"),
        (f"{_WATCHDOG}test_a_clock_that_is_set_back_gives_no_time",),
    ),
    Safeguard(
        "pod-implausible-clock",
        "a clock that was never right ends no pod at once and keeps none",
        Edit(_LIFE, "            plausible = ", "            plausible = True or "),
        (f"{_WATCHDOG}test_with_a_clock_that_was_never_right_the_length_counts_and_not_the_moment",),
    ),
    Safeguard(
        "pod-restarts-give-no-time",
        "a pod's life is counted over all its restarts",
        Edit(_LIFE, "cls(spent + max(0.0, gap),", "cls(0.0 * gap,"),
        (f"{_WATCHDOG}test_restarts_give_no_time",),
    ),
    Safeguard(
        "pod-money-limit",
        "a pod ends when its money is spent, if that is before its time",
        Edit(
            "swarm/pods/inside/told.py",
            "        return min(self.lifetime_s, self.max_usd",
            "        return max(self.lifetime_s, self.max_usd",
        ),
        (f"{_WATCHDOG}test_money_ends_it_before_time_does",),
    ),
    Safeguard(
        "pod-idle",
        "a pod on which nothing runs and nothing is written ends",
        Edit(_RULES, "facts.quiet_s > order.idle_s and not", "False and not"),
        (
            f"{_WATCHDOG}test_idle_with_no_trial_and_no_record_ends_it",
            f"{_WATCHDOG}test_a_trial_that_runs_is_not_idle_but_one_of_a_dead_study_is",
        ),
    ),
    Safeguard(
        "pod-gain-per-dollar",
        "a study that gains too little for its money ends, if that was asked for",
        Edit(_RULES, "gained is not None and gained < wanted", "gained is not None and False"),
        (f"{_WATCHDOG}test_too_little_for_the_money_ends_it_when_that_was_asked_for",),
    ),
    Safeguard(
        "pod-without-code",
        "a pod to which no code comes ends",
        Edit(_RULES, " and facts.phase_s > order.bundle_wait_s", " and False"),
        (f"{_WATCHDOG}test_without_code_it_ends_soon",),
    ),
    Safeguard(
        "pod-set-up-limit",
        "a set-up that never ends is ended",
        Edit(_RULES, " and facts.phase_s > SET_UP_LIMIT_S", " and False"),
        (f"{_WATCHDOG}test_a_set_up_that_never_ends_is_ended",),
    ),
    Safeguard(
        "pod-provider-asked-again",
        "a provider that does not answer is asked again",
        Edit(
            _ENDING,
            "        self._left = code in (0, NOT_RENTED)\n        if self._left:\n",
            "        self._left = code in (0, NOT_RENTED)\n        if True:\n",
        ),
        (f"{_WATCHDOG}test_a_provider_that_never_says_yes_is_asked_again_and_then_everything_is_killed",),
    ),
    Safeguard(
        "pod-killed-at-last",
        "where no provider answers, everything in the pod is killed",
        Edit(_ENDING, "self._stage_s >= KILL_ALL_AFTER_S and not self._killed", "False and not self._killed"),
        (f"{_WATCHDOG}test_a_provider_that_never_says_yes_is_asked_again_and_then_everything_is_killed",),
    ),
    Safeguard(
        "pod-gives-up-asking",
        "the watchdog ends with its pod, so that a container stops",
        Edit(_ENDING, "        if self._stage_s >= GIVE_UP_AFTER_S:\n", "        if False:\n"),
        (f"{_WATCHDOG}test_what_hangs_until_for_ever_costs_no_minute_after_the_deadline",),
    ),
    Safeguard(
        "pod-ending-written-down",
        "a watchdog that is killed while the pod ends is gone on with",
        Edit(_ENDING, "        write_json(self._home.ending, fields)\n", ""),
        (f"{_ENTRY}test_a_pod_to_which_no_code_comes_ends_itself",),
    ),
    Safeguard(
        "pod-results-fetched-first",
        "results wait for the renter before the pod ends",
        Edit(
            _ENDING,
            "        if self._delivered or self._stage_s >= self._order.collect_wait_s:\n",
            "        if True:\n",
        ),
        (f"{_WATCHDOG}test_when_the_study_has_ended_results_wait_for_the_renter_and_then_the_pod_goes",),
    ),
    Safeguard(
        "pod-disk-kept",
        "what nobody has fetched keeps its disk",
        Edit(
            _ENDING,
            '                keep_disk = self._order.sync.kind == "pull" and',
            "                keep_disk = False and",
        ),
        (f"{_WATCHDOG}test_what_nobody_fetched_keeps_its_disk",),
    ),
    Safeguard(
        "pod-watchdog-total",
        "a step of the watchdog that fails is followed by the next one",
        Edit(
            "swarm/pods/inside/watchdog.py",
            "        if isinstance(escaped := contained(watchdog.step), Escaped):\n",
            "        if isinstance(escaped := watchdog.step(), Escaped):\n",
        ),
        (f"{_WATCHDOG}test_a_step_that_fails_is_told_and_the_next_one_follows",),
    ),
    Safeguard(
        "pod-key-stays-in-the-pod",
        "the study gets nothing with which its pod can be changed",
        Edit("swarm/pods/inside/told.py", ' and not name.startswith("RUNPOD_")}', "}"),
        (f"{_ENTRY}test_nothing_that_ends_pods_is_handed_to_the_study",),
    ),
    Safeguard(
        "pod-key-over-https",
        "the pod's key leaves the machine over https only",
        Edit(_LEAVING, '    if address.scheme != "https" and', "    if False and"),
        (f"{_LEAVE}test_an_address_without_encryption_is_not_even_asked",),
    ),
    Safeguard(
        "pod-key-not-redirected",
        "a redirect does not take the pod's key elsewhere",
        Edit(_LEAVING, "build_opener(_NoRedirect, ", "build_opener("),
        (f"{_LEAVE}test_a_redirect_takes_the_key_nowhere",),
    ),
    Safeguard(
        "merge-contradiction-refused",
        "two files that say different things under one id are not merged",
        Edit("swarm/brain/merging.py", "            if known.digest != digest:\n", "            if False:\n"),
        ("swarm/brain/test_brain_merge.py::test_one_id_that_says_two_things_is_named_and_nothing_is_written",),
    ),
    Safeguard(
        "merge-apart",
        "a record of a pod that contradicts what is here is left out by its name, and the rest comes",
        Edit("swarm/pods/home.py", "record.study_id in own, apart=True)", "record.study_id in own, apart=False)"),
        ("swarm/pods/test_bring_home.py::test_one_record_under_a_name_of_ours_is_refused_by_it_and_the_rest_comes",),
    ),
    Safeguard(
        "merge-apart-fits",
        "a line that is too long at its new place keeps no other away",
        Edit("swarm/brain/merging.py", "        if self.apart and not _fits(raw, following):\n", "        if False:\n"),
        ("swarm/brain/test_brain_merge.py::test_apart_a_line_that_is_too_long_at_its_new_place_keeps_nothing_away",),
    ),
    Safeguard(
        "pod-yes-kept-at-once",
        "a provider's yes is written down before it can end everything in the pod",
        Edit(_LEAVING, "    if code == 0:\n", "    if False:\n"),
        (f"{_LEAVE}test_a_yes_is_written_down_at_once",),
    ),
    Safeguard(
        "pod-started-for-its-results",
        "a pod that is started again after its end waits for who fetches its results",
        Edit(_ENDING, " is True or home.left.exists()", " is True"),
        (f"{_WATCHDOG}test_a_pod_that_is_started_again_after_its_end_waits_for_the_renter_and_leaves",),
    ),
    Safeguard(
        "pod-watchdog-spared",
        "where the container allows it, a lack of memory does not end the watchdog; else its log says so",
        Edit("swarm/pods/inside/watchdog.py", "if (unshielded := shield()) is not None:", "if unshielded := None:"),
        (f"{_ENTRY}test_a_pod_to_which_no_code_comes_ends_itself",),
    ),
    Safeguard(
        "pod-chores-not-spared",
        "what the watchdog has done by others is not spared with it",
        Edit("swarm/pods/inside/chores.py", "        expose(process.pid)\n", ""),
        ("swarm/pods/test_pod_oom.py::test_what_it_has_done_by_others_is_not_spared",),
    ),
    Safeguard(
        "merge-claims-once",
        "two claims of one trial are not merged",
        Edit("swarm/brain/merging.py", "            if trial in self.index.claims:\n", "            if False:\n"),
        ("swarm/brain/test_brain_merge.py::test_one_trial_claimed_twice_is_named_and_nothing_is_written",),
    ),
    Safeguard(
        "merge-whole-files",
        "a file whose chain is broken is not merged",
        Edit("swarm/brain/merging.py", "    if report.broken:\n", "    if False:\n"),
        ("swarm/brain/test_brain_merge.py::test_a_file_whose_chain_is_broken_is_refused_with_the_line",),
    ),
    Safeguard(
        "pod-stopped-watchdog-replaced",
        "a watchdog that was stopped is replaced",
        Edit("swarm/pods/entry.py", 'alive(watchdog, "pid") and proc.is_stopped(pid)', "False"),
        (f"{_ENTRY}test_a_watchdog_that_does_nothing_any_more_is_replaced_while_the_pod_waits",),
    ),
    Safeguard(
        "pod-watchdog-looked-after",
        "the watchdog is looked after also before the study runs",
        Edit(
            "swarm/pods/entry.py",
            "        self._begin_watchdog()\n        return not self._is_ending()",
            "        return not self._is_ending()",
        ),
        (f"{_ENTRY}test_a_watchdog_that_does_nothing_any_more_is_replaced_while_the_pod_waits",),
    ),
    Safeguard(
        "pod-set-up-watched",
        "the watchdog is looked after while a command of the set-up runs",
        Edit("swarm/pods/inside/code.py", "                    meanwhile()\n", "                    pass\n"),
        (f"{_ENTRY}test_the_watchdog_is_looked_after_while_a_command_of_the_set_up_runs",),
    ),
    Safeguard(
        "pod-disk-not-for-one-answer",
        "a pod whose stop got no clear answer is not deleted for that",
        Edit(_LEAVING, "if status in _DONE or status in _ASK_AGAIN or status >= 500:", "if status in _DONE:"),
        (f"{_LEAVE}test_a_disk_is_not_given_up_for_one_answer_that_says_nothing",),
    ),
    Safeguard(
        "pod-disk-not-at-any-price",
        "a pod that its provider does not stop is deleted in the end",
        Edit(_ENDING, " and self._tries < KEEP_TRIES", ""),
        (f"{_WATCHDOG}test_a_disk_is_kept_by_three_requests_and_not_at_any_price",),
    ),
)
