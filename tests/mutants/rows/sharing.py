"""Findings of others: who is believed, what of a finding comes in, and how much of a study it may have."""

from mutants.safeguard import Edit, Safeguard

_RECEIVING = "swarm/sharing/test_receiving.py::test_a_hostile_finding_has_no_effect"
_CHANGE = "swarm/sharing/test_change.py::"
_IMPORTING = "workers/test_proposer_importing.py::"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


ROWS = (
    _row(
        "finding-signed",
        "a finding counts only with a signature that the list knows",
        "swarm/sharing/receiving.py",
        "    if not is_signed(letter.body, letter.signature, letter.swarm, accepted):\n",
        "    if False:\n",
        _RECEIVING,
    ),
    _row(
        "finding-unsigned",
        "a list that is not there believes nobody",
        "swarm/sharing/signing.py",
        "    if not 0 < len(signature) <= MAX_SIGNATURE_BYTES or not accepted.is_file():\n        return False\n",
        "    if not accepted.is_file():\n        return True\n",
        "swarm/sharing/test_receiving.py::test_there_are_many_of_them_and_without_a_list_nobody_is_believed",
    ),
    _row(
        "finding-of-its-swarm",
        "nobody signs in the name of another",
        "swarm/sharing/receiving.py",
        "    if what.swarm != letter.swarm:\n",
        "    if False:\n",
        f"{_RECEIVING}[says another swarm]",
    ),
    _row(
        "finding-named-by-its-hash",
        "a finding is not told again under another name",
        "swarm/sharing/receiving.py",
        '    if letter.name != f"{identity(letter.body)}.json":\n',
        "    if False:\n",
        f"{_RECEIVING}[replayed under another name]",
    ),
    _row(
        "finding-same-terms",
        "other data or another harness is not tried",
        "swarm/sharing/receiving.py",
        "        if (what.harness_sha256, what.data_sha256) != (self.harness_sha256, self.data_sha256):\n",
        "        if False:\n",
        f"{_RECEIVING}[other data]",
        f"{_IMPORTING}test_what_was_measured_with_something_else_is_not_tried",
    ),
    _row(
        "finding-stays-inside",
        "no path of a finding leads out of the target",
        "swarm/sharing/finding.py",
        "    path: ProgramPath = Field(max_length=200)\n",
        "    path: str = Field(max_length=200)\n",
        f"{_RECEIVING}[a path that climbs]",
    ),
    _row(
        "finding-links-not-read",
        "a remote's tree is read file by file, and no link of it",
        "swarm/repo/findings.py",
        '        if mode == "100644" and kind == "blob" and _NAME',
        '        if kind == "blob" and _NAME',
        "swarm/sharing/test_receiving.py::test_links_and_large_files_in_a_tree_are_not_read",
    ),
    _row(
        "finding-is-code",
        "no new comment of somebody else comes into a program",
        "swarm/sharing/change.py",
        "        if token.type != tokenize.COMMENT or token.string in known or",
        "        if True or token.type != tokenize.COMMENT or token.string in known or",
        f"{_CHANGE}test_new_comments_and_docstrings_are_left_behind_and_search_comments_come",
    ),
    _row(
        "finding-without-prose",
        "a text that could speak to a reader refuses a finding",
        "swarm/sharing/change.py",
        "        if len(word) > MAX_NAME or not (word.isascii() if is_name else _PLAIN_TEXT.fullmatch(word)):\n",
        "        if False:\n",
        f"{_CHANGE}test_a_text_or_name_that_could_speak_to_a_reader_refuses_the_whole",
    ),
    _row(
        "finding-without-its-words",
        "nothing that a finding says of itself is in a proposal",
        "workers/proposers/importing.py",
        '                    description=f"finding {item.id[:12]} of the remote {self._remote}",\n',
        '                    description=f"finding {item.id[:12]}: {finding.note}",\n',
        f"{_IMPORTING}test_a_finding_is_a_proposal_of_its_remotes_arm_with_nothing_but_its_code",
    ),
    _row(
        "finding-once",
        "a finding is tried once a study",
        "workers/proposers/importing.py",
        '            and f"{self.name}/{item.id}" not in tried\n',
        "",
        f"{_IMPORTING}test_each_finding_is_offered_once_and_then_there_is_nothing",
    ),
    _row(
        "finding-share-claimed",
        "a remote's findings get a tenth of the trials, under the brain's lock",
        "workers/claims.py",
        "    if draft.arm.startswith(ARM) and not within_share(study, draft.arm):\n",
        "    if False:\n",
        f"{_IMPORTING}test_the_share_is_held_where_trials_are_claimed",
    ),
    _row(
        "finding-share",
        "a tenth is a tenth of all trials",
        "swarm/sharing/publishing.py",
        "    return own + 1 <= SHARE * (len(study.trials) + 1)\n",
        "    return True\n",
        f"{_IMPORTING}test_a_remote_has_a_tenth_of_the_trials_at_most",
    ),
    _row(
        "finding-search-comment",
        "a search comment of others is a search space and no sentence",
        "swarm/sharing/change.py",
        "_SEARCH_COMMENT.fullmatch(token.string)",
        'token.string.startswith("# search:")',
        f"{_CHANGE}test_a_search_comment_is_a_search_space_and_no_sentence",
    ),
    _row(
        "finding-every-name",
        "names of modules, errors and patterns speak to nobody either",
        "swarm/sharing/change.py",
        "        if token.type == tokenize.NAME:\n",
        "        if False:\n",
        f"{_CHANGE}test_a_text_or_name_that_could_speak_to_a_reader_refuses_the_whole",
    ),
    _row(
        "finding-flood",
        "whoever floods a remote keeps nobody else from being heard",
        "swarm/sharing/remote.py",
        "        if counts[swarm] <= 2 * MAX_FINDINGS:\n",
        "        if counts.total() <= 2 * MAX_FINDINGS:\n",
        "swarm/sharing/test_receiving.py::test_a_swarm_that_floods_a_remote_keeps_nobody_else_from_being_heard",
    ),
)
