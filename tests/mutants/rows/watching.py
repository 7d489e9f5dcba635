"""Watching a study, and being told of it: nothing from outside is markup, and no address or token gets out."""

from mutants.safeguard import Edit, Safeguard

_NOTICES = "swarm/notify/test_notices.py::"
_NOTIFIER = "swarm/notify/test_notifier.py::"
_VIEW = "swarm/watch/test_view.py::"
_PAGE = "swarm/watch/test_page.py::"
_TERMINAL = "swarm/watch/test_watch_terminal.py::"
_STORES = "swarm/report/test_export_stores.py::"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


ROWS = (
    _row(
        "watch-shows-text",
        "what a proposal says is text in the live view, and no markup",
        "swarm/watch/terminal.py",
        "            Text(slot_note(slot)),\n",
        "            slot_note(slot),\n",
        f"{_TERMINAL}test_nothing_that_a_proposal_says_is_markup",
    ),
    _row(
        "watch-numbers-are-numbers",
        "a step that a program invents is shown only as far as it is a number",
        "swarm/watch/pace.py",
        "    return min(1.0, max(0.0, number)) if math.isfinite(number) else None\n",
        "    return number\n",
        f"{_VIEW}test_a_slot_shows_what_its_program_says_of_itself_as_far_as_it_can_be_a_number",
    ),
    _row(
        "address-leaves-the-environment",
        "no worker and no trial inherits the address of the notices",
        "swarm/cli/notifying.py",
        "os.environ.pop(NOTIFY_VARIABLE, None)",
        "os.environ.get(NOTIFY_VARIABLE)",
        "swarm/cli/test_notifying.py::test_the_variable_leaves_the_environment_before_anybody_inherits_it",
    ),
    _row(
        "address-in-no-refusal",
        "a refused address is not repeated in the refusal",
        "swarm/notify/address.py",
        'raise UsageError("--notify is no web address (it is not shown here, since it may hold a key)") from None',
        'raise UsageError(f"--notify is no web address: {text}") from None',
        f"{_NOTICES}test_an_address_that_is_none_is_refused_without_being_shown",
    ),
    _row(
        "address-in-no-fault",
        "what went wrong with a notice is told without its address",
        "swarm/notify/delivery.py",
        '            return f"it cannot be reached ({type(kind).__name__})"\n',
        '            return f"{request.full_url} cannot be reached ({type(kind).__name__})"\n',
        f"{_NOTIFIER}test_a_server_that_is_not_there_costs_the_study_two_seconds_at_its_end",
    ),
    _row(
        "notice-follows-no-redirect",
        "a notice goes to the address that was given, and nowhere else",
        "swarm/notify/delivery.py",
        "opener = urllib.request.build_opener(_NoRedirect)",
        "opener = urllib.request.build_opener()",
        f"{_NOTIFIER}test_what_a_server_does_not_take_arrives_when_it_works_again",
    ),
    _row(
        "notice-bounded-in-time",
        "a server that never ends its answer holds up nothing",
        "swarm/notify/delivery.py",
        "        thread.join(TRY_S)  #",
        "        thread.join()  #",
        f"{_NOTIFIER}test_a_server_that_trickles_its_answer_is_given_up",
    ),
    _row(
        "notice-told-once",
        "a restart tells nothing twice",
        "swarm/notify/told.py",
        "        return notice_id in self._ids\n",
        "        return False\n",
        f"{_NOTIFIER}test_after_a_restart_what_was_told_is_not_and_what_was_not_is",
    ),
    _row(
        "notice-not-dropped",
        "what a server did not take is told later",
        "swarm/notify/notifier.py",
        "                    self._rest(queue, fault)\n                    return\n",
        "                    self._rest(queue, fault)\n",
        f"{_NOTIFIER}test_what_a_server_does_not_take_arrives_when_it_works_again",
        f"{_NOTIFIER}test_after_a_restart_what_was_told_is_not_and_what_was_not_is",
    ),
    _row(
        "notice-mentions-nobody",
        "what a proposal says can call nobody and link nowhere in a chat",
        "swarm/notify/forms.py",
        '    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")\n',
        "    return text\n",
        f"{_NOTICES}test_slack_gets_a_text_in_which_nobody_is_called",
    ),
    _row(
        "event-is-data",
        "what a proposal says is never part of the command that is run for an event",
        "swarm/notify/delivery.py",
        '["/bin/sh", "-c", self.command]',
        '["/bin/sh", "-c", f"{self.command}; : {notice.text}"]',
        f"{_NOTIFIER}test_a_command_gets_the_event_on_its_input_and_nothing_of_it_is_run",
    ),
    _row(
        "page-wants-its-token",
        "without the token of its address the page shows nothing and takes no word",
        "swarm/watch/web/guard.py",
        "    if not hmac.compare_digest(given.encode(), token.encode()):\n",
        "    if False:\n",
        f"{_PAGE}test_who_may_pass",
    ),
    _row(
        "page-token-in-a-header",
        "a button needs the token in a header, which no other site's page can set",
        "swarm/watch/web/guard.py",
        'given = headers.get(TOKEN_HEADER, "") if method == "POST" else query.get("token", "")',
        'given = headers.get(TOKEN_HEADER, "") or query.get("token", "")',
        f"{_PAGE}test_who_may_pass",
    ),
    _row(
        "page-knows-its-name",
        "a foreign name that is pointed at this machine reaches nothing",
        "swarm/watch/web/guard.py",
        '    if _host_of(f"//{host}") not in OUR_HOSTS:\n',
        "    if False:\n",
        f"{_PAGE}test_who_may_pass",
    ),
    _row(
        "page-knows-its-origin",
        "a word that another site's page sends is refused",
        "swarm/watch/web/guard.py",
        '    if method == "POST" and origin is not None and origin != f"http://{host}":\n',
        "    if False:\n",
        f"{_PAGE}test_who_may_pass",
    ),
    _row(
        "page-quotes-slots",
        "what a proposal says is text in the page's list of workers",
        "swarm/watch/web/page.py",
        "<p class='what'>{escape(slot_note(slot))}</p>",
        "<p class='what'>{slot_note(slot)}</p>",
        f"{_PAGE}test_whatever_stands_in_a_record_is_text_on_the_page",
    ),
    _row(
        "page-quotes-programs",
        "what a proposal says is text in the page's table of programs",
        "swarm/watch/web/page.py",
        """        f"<td class='change'>{escape(mean.description)}</td>",\n""",
        """        f"<td class='change'>{mean.description}</td>",\n""",
        f"{_PAGE}test_whatever_stands_in_a_record_is_text_on_the_page",
    ),
    _row(
        "page-quotes-events",
        "what a proposal says is text in the page's last events",
        "swarm/watch/web/page.py",
        "{escape(event.text.strip())}",
        "{event.text.strip()}",
        f"{_PAGE}test_whatever_stands_in_a_record_is_text_on_the_page",
    ),
    _row(
        "page-tables-quoted",
        "what a proposal says is text in the tables of page and report",
        "swarm/report/render.py",
        '    return f"<td{marked}>{html.escape(text)}</td>"\n',
        '    return f"<td{marked}>{text}</td>"\n',
        f"{_PAGE}test_the_tables_are_those_of_the_report_and_quote_too",
    ),
    _row(
        "outliers-off-the-axis",
        "a few results far off the others do not set the axis",
        "swarm/report/figures/style.py",
        "    top = max(cost for cost in ordered if cost <= furthest)\n",
        "    top = ordered[-1]\n",
        "swarm/report/test_figures.py::test_an_outlier_stays_in_sight_without_flattening_the_rest",
    ),
    _row(
        "exported-once",
        "a store gets each trial once, however often it is asked for",
        "swarm/report/export/optuna_store.py",
        "    new = [trial for trial in trials if trial.row.trial_id not in known]\n",
        "    new = list(trials)\n",
        f"{_STORES}test_twice_adds_nothing_twice_and_later_only_what_is_new[optuna]",
    ),
    _row(
        "exported-ranges-stay",
        "what Optuna has of a constant stays as it is, so that later trials go beside earlier ones",
        "swarm/report/export/optuna_store.py",
        "    wanted = there if there is not None else _range(value, space)\n",
        "    wanted = _range(value, space)\n",
        f"{_STORES}test_optuna_keeps_the_kind_of_range_that_it_has",
    ),
)
