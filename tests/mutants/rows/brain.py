"""The brain: nothing acknowledged is lost, and nobody's damage costs more than itself."""

from mutants.safeguard import Edit, Safeguard

_BRAIN = "swarm/brain/test_brain.py::"
_DAMAGE = "swarm/brain/test_brain_damage.py::"
_DISK = "swarm/brain/test_brain_disk.py::"
_PROCESSES = "swarm/brain/test_brain_processes.py::"

ROWS = (
    Safeguard(
        "torn-tail-set-aside",
        "the rest of an append whose writer died is cut off before the next one",
        Edit(
            "swarm/brain/blackboard.py",
            "        set_torn_bytes_aside(self._disk, fd, self.path, self._tail.offset)\n",
            "",
        ),
        (f"{_DAMAGE}test_a_record_torn_at_any_byte_is_set_aside_and_the_next_append_succeeds",),
    ),
    Safeguard(
        "torn-bytes-kept",
        "torn bytes are safe in the .torn file before they are cut off",
        Edit(
            "swarm/brain/disk.py",
            '    with opened_for_append(aside) as aside_fd:\n        append_durably(disk, aside_fd, aside, torn + b"\\n")\n',
            "",
        ),
        (f"{_DISK}test_torn_bytes_are_not_cut_off_before_they_are_safe_elsewhere", "swarm/brain/test_brain_damage.py"),
    ),
    Safeguard(
        "unfinished-line-not-read",
        "a last line without its newline is not there yet",
        Edit(
            "swarm/brain/tail.py",
            '            *complete, rest = (rest + chunk).split(b"\\n")\n',
            '            *complete, rest = (rest + chunk).split(b"\\n")\n            complete, rest = [*complete, *filter(None, [rest])], b""\n',
        ),
        (f"{_DAMAGE}test_a_last_line_that_is_being_written_is_not_yet_there",),
    ),
    Safeguard(
        "append-under-the-lock",
        "one writer at a time, across processes",
        Edit(
            "swarm/brain/lock.py", "        while not lock_descriptor(fd, blocking=False):\n", "        while False:\n"
        ),
        (
            f"{_PROCESSES}test_a_stopped_holder_is_never_broken_and_is_named",
            f"{_PROCESSES}test_a_lock_file_that_somebody_deletes_does_not_split_the_writers",
        ),
    ),
    Safeguard(
        "deleted-lock-taken-anew",
        "whoever waited for a lock file that was deleted meanwhile locks the new one",
        Edit("swarm/brain/lock.py", "                if is_at(self._path, fd):\n", "                if True:\n"),
        (f"{_PROCESSES}test_a_lock_file_that_somebody_deletes_does_not_split_the_writers",),
    ),
    Safeguard(
        "catch-up-under-the-lock",
        "a writer sees what others wrote since its snapshot before it builds its records",
        Edit(
            "swarm/brain/blackboard.py",
            "            self._apply(self._tail.new_lines_of(fd))\n            self._require_ours(fd)\n",
            "            self._require_ours(fd)\n",
        ),
        (f"{_PROCESSES}test_of_two_claims_on_one_snapshot_one_is_stale", "swarm/brain/test_brain.py"),
    ),
    Safeguard(
        "trial-claimed-once",
        "of two claims of one trial the second is stale",
        Edit("swarm/brain/seal.py", "        raise StaleSnapshot(\n", "        str(\n"),
        (f"{_BRAIN}test_a_trial_is_claimed_once",),
    ),
    Safeguard(
        "repeated-id-written-once",
        "a writer that never saw its acknowledgement may send the record again",
        Edit(
            "swarm/brain/blackboard.py",
            " for record in (*notes, *built) if not self._state.seen(record.id)}",
            " for record in (*notes, *built)}",
        ),
        (f"{_BRAIN}test_a_repeated_id_is_written_once_and_answered_with_the_stored_record",),
    ),
    Safeguard(
        "repeated-id-counted-once",
        "a record that stands twice in the file is replayed once",
        Edit("swarm/study/state.py", "        if record.id and record.id in self._seen:\n", "        if False:\n"),
        ("swarm/study/test_state.py",),
    ),
    Safeguard(
        "chain",
        "each line carries the SHA-256 of the one before",
        Edit("swarm/brain/seal.py", "        prev = line_sha256(line[:-1])\n", ""),
        (f"{_BRAIN}test_an_append_fills_the_envelope_and_chains",),
    ),
    Safeguard(
        "brain-is-a-plain-file",
        "a pipe or a device in the place of a brain is refused and not waited for",
        Edit("swarm/brain/tail.py", "        if not stat.S_ISREG(found.st_mode):\n", "        if False:\n"),
        (f"{_DAMAGE}test_what_is_no_plain_file_is_refused_and_not_waited_for",),
    ),
    Safeguard(
        "moments-are-dates",
        "a record whose moment is no date is a bad line, and no view breaks on it",
        Edit("swarm/records/envelope.py", "        le=LAST_AT,\n", ""),
        (f"{_DAMAGE}test_a_moment_that_is_no_date_makes_a_bad_line",),
    ),
    Safeguard(
        "verify-changed-line",
        "swarm verify names a line that was changed",
        Edit("swarm/brain/verify.py", "    elif record.prev != before:\n", "    elif False:\n"),
        (f"{_DAMAGE}test_verify_names_a_line_that_was_changed",),
    ),
    Safeguard(
        "verify-removed-line",
        "swarm verify names the place of a line that was removed",
        Edit("swarm/brain/verify.py", "    if record.seq != number:\n", "    if False:\n"),
        (f"{_DAMAGE}test_verify_names_the_place_of_a_line_that_was_removed",),
    ),
    Safeguard(
        "read-back-before-written",
        "nothing is written that nobody could read",
        Edit("swarm/brain/seal.py", "Sealed(_read_back(line, record.kind), line)", "Sealed(record, line)"),
        (f"{_BRAIN}test_what_nobody_could_read_back_is_never_written",),
    ),
    Safeguard(
        "line-limit",
        "no line is longer than readers take",
        Edit("swarm/brain/lines.py", "    if len(line) > MAX_LINE_BYTES:\n", "    if False:\n"),
        (f"{_BRAIN}test_a_line_over_the_limit_names_kind_size_and_limit",),
    ),
    Safeguard(
        "bad-line-skipped",
        "a line that cannot be read costs only itself",
        Edit(
            "swarm/brain/blackboard.py",
            "                self._skipped.append(BadLine(line.number, str(problem)))\n",
            "                raise\n",
        ),
        (f"{_DAMAGE}test_a_bad_line_is_skipped_counted_and_shown",),
    ),
    Safeguard(
        "infinity-refused",
        "a number that reads as infinity poisons no mean",
        Edit("swarm/brain/lines.py", " and not _is_finite(fields):\n", " and False:\n"),
        ("swarm/brain/test_brain_damage.py",),
    ),
    Safeguard(
        "foreign-file-untouched",
        "a file that some other program wrote is never added to",
        Edit("swarm/brain/blackboard.py", "            self._require_ours(fd)\n", ""),
        (f"{_BRAIN}test_a_file_that_is_not_ours_is_never_touched",),
    ),
    Safeguard(
        "exchanged-file-noticed",
        "a brain that is exchanged in use stops reader and writer",
        Edit("swarm/brain/tail.py", "        self._check_identity(fd)\n", ""),
        (f"{_DAMAGE}test_a_file_that_is_exchanged_in_use_stops_reader_and_writer",),
    ),
    Safeguard(
        "short-write-taken-back",
        "a write that fitted in part is taken back whole",
        Edit("swarm/brain/disk.py", "        disk.truncate(fd, size)\n", "        pass\n"),
        (
            f"{_DISK}test_a_short_write_is_taken_back",
            f"{_DISK}test_no_room_leaves_no_half_record_and_work_goes_on_with_more",
        ),
    ),
    Safeguard(
        "full-disk-named",
        "a full disk is told from a broken one",
        Edit(
            "swarm/brain/disk.py",
            "        kind = DiskFull if problem.errno in _FULL else BrainError\n",
            "        kind = BrainError\n",
        ),
        (f"{_DISK}test_each_way_to_be_full_is_called_full",),
    ),
    Safeguard(
        "fsync-before-acknowledged",
        "an append is on the disk before it is acknowledged",
        Edit("swarm/brain/disk.py", "        disk.sync(fd)\n        if size == 0:\n", "        if size == 0:\n"),
        (f"{_BRAIN}test_an_append_is_one_write_and_is_on_the_disk_before_it_returns",),
    ),
    Safeguard(
        "folder-synced",
        "a new brain's name is on the disk too",
        Edit("swarm/brain/disk.py", "            _sync_folder(disk, path)\n", "            pass\n"),
        (f"{_BRAIN}test_an_append_is_one_write_and_is_on_the_disk_before_it_returns", "swarm/brain/test_brain_disk.py"),
    ),
    Safeguard(
        "no-append-after-failed-fsync",
        "a process whose fsync failed appends no more",
        Edit("swarm/brain/blackboard.py", "            if self._distrusted:\n", "            if False:\n"),
        (f"{_DISK}test_a_failed_fsync_is_no_acknowledgement_and_stops_further_appends",),
    ),
)
