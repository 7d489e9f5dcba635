"""Nodes: leases, fences, who is heard, and what a node may run."""

from mutants.safeguard import Edit, Safeguard

_EXCHANGE = "swarm/nodes/test_exchange.py::"
_AGENT = "swarm/nodes/test_agent.py::"
_DOOR = "swarm/nodes/test_door.py::"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


ROWS = (
    _row(
        "node-fence",
        "a node counts only under the latest number of an order",
        "swarm/nodes/entry.py",
        "held.issue == entry.issue and entry.issue > 0 and entry.node == node.facts.name and",
        "",
        f"{_EXCHANGE}test_what_a_lost_node_ran_is_given_to_another_and_its_late_word_is_not_heard",
        f"{_EXCHANGE}test_an_order_that_is_given_anew_fences_what_an_earlier_one_left",
    ),
    _row(
        "node-lease-ends",
        "what a silent node ran is given to another",
        "swarm/nodes/exchange.py",
        "            if now - (node.heard if node is not None else self._began) > self._lease_s:\n",
        "            if False:\n",
        f"{_EXCHANGE}test_what_a_lost_node_ran_is_given_to_another_and_its_late_word_is_not_heard",
    ),
    _row(
        "node-losses-bounded",
        "a trial that is lost with node after node is given up",
        "swarm/nodes/exchange.py",
        "entry.lost <= LOSSES_ALLOWED or",
        "True or",
        f"{_EXCHANGE}test_an_order_that_was_lost_with_too_many_nodes_is_given_up",
    ),
    _row(
        "node-same-data",
        "a node with other data is refused",
        "swarm/nodes/exchange.py",
        '            ("data", facts.data_sha256, terms.data_sha256),\n',
        "",
        f"{_EXCHANGE}test_a_node_with_another_harness_data_version_or_class_is_refused",
    ),
    _row(
        "node-same-harness",
        "a node with another harness is refused",
        "swarm/nodes/exchange.py",
        '            ("harness", facts.harness_sha256, terms.harness_sha256),\n',
        "",
        f"{_EXCHANGE}test_a_node_with_another_harness_data_version_or_class_is_refused",
    ),
    _row(
        "node-one-class",
        "a study's nodes are of one device class",
        "swarm/nodes/exchange.py",
        '            ("device class", facts.device_class, self.device_class or facts.device_class),\n',
        "",
        f"{_EXCHANGE}test_a_node_with_another_harness_data_version_or_class_is_refused",
    ),
    _row(
        "node-late-work-killed",
        "what was given to another node is killed where it runs",
        "swarm/nodes/agent.py",
        '        contained(lambda: in_hand.running.stop("given to another node"))\n',
        "",
        f"{_AGENT}test_a_node_that_is_frozen_loses_its_trial_to_another_and_kills_what_it_has",
    ),
    _row(
        "node-agent-followed",
        "an agent that is started again goes on with the trials of the one before",
        "swarm/nodes/agent.py",
        "        self._recover()\n",
        "",
        f"{_AGENT}test_an_agent_that_died_is_followed_by_one_that_goes_on_with_its_trials",
    ),
    _row(
        "node-drains-clean",
        "a node that is taken away has killed and given back what it had",
        "swarm/nodes/agent.py",
        '            contained(lambda trial=in_hand.running: trial.stop("its node is taken away"))',
        "            contained(lambda trial=in_hand.running: None)",
        f"{_AGENT}test_a_node_that_is_taken_away_gives_back_what_it_has",
    ),
    _row(
        "order-written-down",
        "a driver that restarts knows which node has what",
        "swarm/nodes/host.py",
        "                write_whole(path, entry.model_dump_json())\n",
        "                pass\n",
        f"{_AGENT}test_a_driver_that_restarts_finds_what_its_nodes_have_run_meanwhile",
    ),
    _row(
        "exchange-key-private",
        "the key of an exchange is for its owner alone",
        "swarm/nodes/host.py",
        "os.O_EXCL, 0o600)",
        "os.O_EXCL, 0o644)",
        f"{_AGENT}test_the_key_is_for_its_owner_alone_and_no_order_is_kept_twice",
    ),
    _row(
        "door-signed",
        "whoever has not the key is not heard",
        "swarm/nodes/door.py",
        "if not hmac.compare_digest(marked, _mark(key, nonce, name, body)) or not nonces.fresh(nonce):",
        "if not nonces.fresh(nonce):",
        f"{_DOOR}test_a_changed_or_repeated_question_is_refused",
    ),
    _row(
        "door-once",
        "no question is heard twice",
        "swarm/nodes/door.py",
        " or not nonces.fresh(nonce):",
        ":",
        f"{_DOOR}test_a_changed_or_repeated_question_is_refused",
    ),
    _row(
        "door-answer-signed",
        "a node believes its driver only",
        "swarm/nodes/door.py",
        "if not hmac.compare_digest(marked, _mark(self._key, nonce, str(answer.status), said)):",
        "if False:",
        f"{_DOOR}test_an_answer_of_somebody_else_is_not_believed",
    ),
    _row(
        "local-without-extras",
        "a study on one machine imports neither Ray nor submitit",
        "swarm/nodes/serving.py",
        "import contextlib\nimport select\n",
        "import contextlib\nimport ray  # noqa\nimport select\n",
        "swarm/nodes/test_without_extras.py::test_nothing_of_a_study_imports_ray_or_submitit",
    ),
)
