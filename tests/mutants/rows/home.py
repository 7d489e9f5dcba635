"""What comes home from a rented machine, over which way, and what a laptop needs for it."""

from mutants.safeguard import Edit, Safeguard

_HOME = "swarm/pods/test_bring_home.py::"
_SSH = "swarm/pods/test_ssh_host.py::"
_PUSH = "swarm/pods/test_pod_push.py::"
_CONTAINER = "docs/test_container.py::"
_BRINGING = "swarm/pods/home.py"
_TAKING = "swarm/repo/taking.py"
_KEYS = "swarm/pods/ssh.py"

ROWS = (
    Safeguard(
        "home-own-studies",
        "a pod adds records to no study but its own",
        Edit(_BRINGING, "wanted=lambda record: record.study_id in own,", "wanted=lambda record: True,"),
        (f"{_HOME}test_a_pod_adds_to_no_study_but_its_own",),
    ),
    Safeguard(
        "home-own-refs",
        "a pod adds commits to no study but its own",
        Edit(_BRINGING, "        if study in own and _TRIAL", "        if _TRIAL"),
        (f"{_HOME}test_a_pod_adds_to_no_study_but_its_own",),
    ),
    Safeguard(
        "home-refs-not-moved",
        "a ref that says something else here is never moved",
        Edit(
            _TAKING,
            "if here.get(name, commit) != commit):\n",
            "if False):\n",
        ),
        (f"{_HOME}test_a_ref_that_says_something_else_here_is_never_moved",),
    ),
    Safeguard(
        "home-objects-checked",
        "git checks each object that comes from a pod",
        Edit(_TAKING, '"fetch.fsckObjects=true"', '"fetch.fsckObjects=false"'),
        (f"{_HOME}test_objects_that_git_would_not_make_are_refused",),
    ),
    Safeguard(
        "home-object-size",
        "no large object comes from a pod",
        Edit(_TAKING, "or int(size) > MAX_OBJECT_BYTES:", "or False:"),
        (f"{_HOME}test_what_is_too_large_is_refused_before_it_is_ours",),
    ),
    Safeguard(
        "home-pack-size",
        "a pack without an end fills no disk",
        Edit(_TAKING, ", file_limit_mib=MAX_PACK_MIB)", ")"),
        (f"{_HOME}test_a_pack_that_never_ends_is_cut_off",),
    ),
    Safeguard(
        "home-brain-size",
        "a brain without an end fills no disk",
        Edit(
            "swarm/pods/mirror.py", "            if file.tell() + len(piece) > MAX_BYTES:\n", "            if False:\n"
        ),
        (f"{_HOME}test_a_brain_without_an_end_is_cut_off",),
    ),
    Safeguard(
        "home-copy-goes-on",
        "a brain that was exchanged in the pod is copied anew",
        Edit("swarm/pods/mirror.py", "    if not _goes_on(reach, mirror):\n", "    if False:\n"),
        (f"{_HOME}test_a_brain_that_was_exchanged_in_the_pod_is_copied_anew",),
    ),
    Safeguard(
        "home-look-has-an-end",
        "a pod that gives its brain by the byte puts no deadline off",
        Edit("swarm/pods/mirror.py", "            if time.monotonic() > ends_at:\n", "            if False:\n"),
        (f"{_HOME}test_a_pod_that_gives_its_brain_by_the_byte_is_left_for_a_while_and_gone_on_with",),
    ),
    Safeguard(
        "home-report-made-here",
        "the report is written from the records",
        Edit(
            _BRINGING,
            "    report = over and _report(home, own, repo, mirror.parent)\n",
            '    report = over and bool((mirror.parent / "report.html").write_text("fetched"))\n',
        ),
        (f"{_HOME}test_the_report_is_written_here_and_not_fetched",),
    ),
    Safeguard(
        "pod-words-safe-to-print",
        "what a pod says of itself moves no cursor and rings no bell",
        Edit("swarm/pods/order.py", "    why: Line = Field(", "    why: str = Field("),
        ("swarm/pods/test_pod_entry.py::test_what_a_pod_says_of_itself_is_safe_to_print",),
    ),
    Safeguard(
        "ssh-known-keys-only",
        "nothing is sent to a machine whose host key is not known",
        Edit(_KEYS, '"StrictHostKeyChecking=yes"', '"StrictHostKeyChecking=no"'),
        (
            f"{_SSH}test_a_host_key_that_is_not_known_is_refused_with_the_remedy",
            f"{_SSH}test_another_key_than_the_one_that_was_pinned_is_refused",
        ),
    ),
    Safeguard(
        "ssh-key-stays-pinned",
        "a pod that shows another key than before is refused",
        Edit(
            _KEYS,
            '    if known_hosts.exists() and known_hosts.read_text(encoding="utf-8") != line:\n',
            "    if False:\n",
        ),
        (f"{_SSH}test_a_pod_says_its_own_key_and_keeps_it",),
    ),
    Safeguard(
        "ssh-names-are-no-options",
        "the name of a machine becomes neither an option nor a command",
        Edit(_KEYS, "            if not _NAME.fullmatch(word):\n", "            if False:\n"),
        (f"{_SSH}test_no_name_becomes_an_option_or_a_command",),
    ),
    Safeguard(
        "ssh-names-stay-in-the-home",
        "no file name leads out of a pod's home",
        Edit(_KEYS, '        if path.is_absolute() or ".." in path.parts:\n', "        if False:\n"),
        (f"{_SSH}test_no_name_leads_out_of_the_home",),
    ),
    Safeguard(
        "ssh-answers-bounded",
        "a machine that never stops talking is cut off",
        Edit(_KEYS, "            if len(into) > limit:\n", "            if False:\n"),
        (f"{_SSH}test_more_than_was_asked_for_is_cut_off",),
    ),
    Safeguard(
        "push-whole-lines",
        "half a line of a brain is not pushed",
        Edit("swarm/pods/inside/push.py", 'brain[: brain.rfind(b"\\n") + 1]', "brain"),
        (f"{_PUSH}test_half_a_line_is_not_pushed",),
    ),
    Safeguard(
        "push-token-in-a-header",
        "the token of a remote is in no command line and no file",
        Edit(
            "swarm/pods/inside/push.py",
            "    if token := environment.get(TOKEN_VARIABLE):\n",
            "    if token := None:\n",
        ),
        (f"{_PUSH}test_a_token_is_in_a_header_and_nowhere_else",),
    ),
    Safeguard(
        "ledger-read-without-fcntl",
        "what only reads runs where there is no fcntl",
        Edit(
            "swarm/admission/ledger/flock.py",
            "import os\nfrom pathlib",
            "import fcntl  # noqa\nimport os\nfrom pathlib",
        ),
        ("swarm/cli/test_client_imports.py::test_what_reads_and_merges_runs_on_a_laptop",),
    ),
    Safeguard(
        "image-without-root",
        "the container runs as nobody special",
        Edit("Dockerfile", "USER 10001:10001\n", "USER 0:0\n"),
        (f"{_CONTAINER}test_the_image_is_of_a_version_runs_as_nobody_special_and_says_how_it_is",),
    ),
    Safeguard(
        "image-of-what-is-named",
        "no history, brain or key is sent to the image's builder",
        Edit(".dockerignore", "*\n!LICENSE\n", "!LICENSE\n"),
        (f"{_CONTAINER}test_nothing_but_the_program_is_sent_to_the_builder",),
    ),
)
