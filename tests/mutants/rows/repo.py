"""Git: the person's branch, index, files and hooks are theirs."""

from mutants.safeguard import Edit, Safeguard

_REPO = "swarm/repo/test_repo.py::"
_HOSTILE = "swarm/repo/test_repo_hostile.py::"
_PLANTED = f"{_HOSTILE}test_nothing_planted_in_a_repository_is_executed"

ROWS = (
    Safeguard(
        "git-hooks",
        "no hook of the repository runs",
        Edit("swarm/repo/git.py", '    *("-c", "core.hooksPath=/dev/null"),\n', ""),
        (_PLANTED,),
    ),
    Safeguard(
        "git-fsmonitor",
        "no file monitor of the repository runs",
        Edit("swarm/repo/git.py", '    *("-c", "core.fsmonitor=false"),\n', ""),
        (_PLANTED, f"{_HOSTILE}test_the_callers_git_variables_lead_nowhere_else"),
    ),
    Safeguard(
        "git-filters",
        "no filter of the repository changes what is stored",
        Edit("swarm/repo/repository.py", '"-w", "--no-filters", "--stdin"', '"-w", "--path", path, "--stdin"'),
        (_PLANTED,),
    ),
    Safeguard(
        "git-own-environment",
        "git's variables of the caller lead to no other repository",
        Edit(
            "swarm/repo/git.py", "{**_environment(), **(env or {})}", "{**os.environ, **_environment(), **(env or {})}"
        ),
        (f"{_HOSTILE}test_the_callers_git_variables_lead_nowhere_else",),
    ),
    Safeguard(
        "git-own-configuration",
        "the person's own git configuration is not read",
        (
            Edit("swarm/repo/git.py", '        "HOME": os.devnull,', '        "HOME": os.environ["HOME"],'),
            Edit("swarm/repo/git.py", '        "GIT_CONFIG_GLOBAL": os.devnull,\n', ""),
        ),
        (f"{_HOSTILE}test_the_persons_own_git_configuration_changes_nothing",),
    ),
    Safeguard(
        "git-private-index",
        "the person's index is neither read nor written",
        Edit(
            "swarm/repo/repository.py",
            '            yield {"GIT_INDEX_FILE": str(Path(folder) / "index")}\n',
            "            yield {}\n",
        ),
        (f"{_REPO}test_a_change_is_committed_without_touching_what_is_the_users",),
    ),
    Safeguard(
        "git-ref-created-once",
        "a trial's ref is created by compare-and-swap and never moved",
        Edit(
            "swarm/repo/repository.py",
            'self.git("update-ref", ref, commit, "0" * len(commit))',
            'self.git("update-ref", ref, commit)',
        ),
        (f"{_REPO}test_a_ref_is_created_once_and_asking_again_is_harmless",),
    ),
    Safeguard(
        "git-no-branches",
        "trial commits stay below refs/swarm/",
        Edit("swarm/repo/repository.py", "        if not ref.startswith(REF_PREFIX):\n", "        if False:\n"),
        (f"{_REPO}test_a_trial_commit_goes_nowhere_else",),
    ),
    Safeguard(
        "git-ref-names",
        "no name of a study or trial leads out of refs/swarm/",
        Edit("swarm/repo/refs.py", "        if not _NAME.fullmatch(name)", "        if False"),
        (f"{_REPO}test_a_trial_commit_goes_nowhere_else",),
    ),
    Safeguard(
        "git-deadline",
        "a git that hangs is killed at its deadline",
        Edit(
            "swarm/repo/git.py",
            "        stdout, stderr = process.communicate(stdin, timeout=timeout_s)\n",
            "        stdout, stderr = process.communicate(stdin)\n",
        ),
        (f"{_REPO}test_a_git_that_hangs_is_killed_with_its_children",),
    ),
    Safeguard(
        "git-children-killed",
        "what git has started dies with it",
        Edit("swarm/repo/git.py", "        os.killpg(process.pid, signal.SIGKILL)\n", "        process.kill()\n"),
        (f"{_REPO}test_a_git_that_hangs_is_killed_with_its_children",),
    ),
    Safeguard(
        "git-one-at-a-time",
        "one of our processes at a time changes refs",
        Edit("swarm/repo/repository.py", "            lock.acquire()\n", "            pass\n"),
        (f"{_REPO}test_the_lock_names_its_file_when_it_stays_held",),
    ),
    Safeguard(
        "git-links-refused",
        "a link in a commit leads out of no trial's folder",
        Edit(
            "swarm/repo/trees.py",
            "        if entry.mode == _SYMLINK:\n            raise",
            "        if False:\n            raise",
        ),
        (f"{_REPO}test_a_link_out_of_the_folder_is_refused",),
    ),
    Safeguard(
        "git-locks-of-the-living",
        "a lock that a process has open is not stale, however old",
        Edit("swarm/repo/worktrees.py", "    return age > age_s and not _is_open(lock)\n", "    return age > age_s\n"),
        (f"{_REPO}test_worktrees_survive_loss_and_stale_locks",),
    ),
    Safeguard(
        "git-young-locks",
        "a young lock is not stale",
        Edit(
            "swarm/repo/worktrees.py",
            "    return age > age_s and not _is_open(lock)\n",
            "    return not _is_open(lock)\n",
        ),
        (f"{_REPO}test_worktrees_survive_loss_and_stale_locks",),
    ),
    Safeguard(
        "git-own-worktrees",
        "the person's own worktrees are never removed",
        Edit("swarm/repo/worktrees.py", "            if worktree.parent == ours:\n", "            if True:\n"),
        (f"{_REPO}test_worktrees_survive_loss_and_stale_locks",),
    ),
    Safeguard(
        "runtime-folder-ignores-itself",
        ".swarm/ never shows up in the person's git status",
        Edit("swarm/repo/runtime.py", 'ignore.write_text("*\\n", encoding="utf-8")', "ignore.touch()"),
        (f"{_REPO}test_a_change_is_committed_without_touching_what_is_the_users",),
    ),
    Safeguard(
        "bundle-for-its-study",
        "a bundle makes refs of the study that is asked for and of no other",
        Edit("swarm/repo/bundle.py", "if study == study_id and _TRIAL", "if _TRIAL"),
        ("swarm/repo/test_bundle.py::test_what_is_no_bundle_or_contradicts_takes_nothing",),
    ),
    Safeguard(
        "adopted-branch-in-sight",
        "the branch of a result is what git reads under the name that is printed, and not the trial's own ref",
        Edit("swarm/cli/programs.py", 'f"adopted/{study', 'f"swarm/{study'),
        ("swarm/cli/test_adopt.py::test_the_branch_that_adopt_names_is_the_one_that_git_reads",),
    ),
)
