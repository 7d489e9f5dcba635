"""The thread in which a language model makes the next draft while a trial trains."""

import threading
from collections.abc import Callable

from workers.claims import Draft
from workers.dispatch import Propose
from workers.kept_drafts import KeptDraft


class Background:
    """Makes one draft at a time in a daemon thread: a stalled model must not keep a worker from ending. A draft is kept
    from the moment that it is made until it is `used`; one that an earlier process left is there from the start."""

    def __init__(self, make: Callable[[Propose], Draft | None], kept: KeptDraft) -> None:
        self._make = make
        self._kept = kept
        self._thread: threading.Thread | None = None
        self._draft: Draft | None = kept.take()
        self._taken: Draft | None = None
        self._failure: BaseException | None = None

    def start(self, assignment: Propose) -> None:
        """Begin a draft, unless one is being made or waits to be taken."""
        if self.busy or self._draft is not None:
            return
        self._thread = threading.Thread(target=self._run, args=(assignment,), name="draft", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def take(self, patience_s: float) -> Draft | None:
        """The draft, if it is ready within `patience_s`. What was raised while it was made is raised here."""
        if self._thread is not None:
            self._thread.join(patience_s)
        if self.busy:
            return None
        draft, self._draft, failure, self._failure = self._draft, None, self._failure, None
        self._taken = draft
        if failure is not None:
            raise failure
        return draft

    def leftover(self) -> Draft | None:
        """A draft that nobody took; None while one is being made."""
        return None if self.busy else self._draft

    def _run(self, assignment: Propose) -> None:
        try:
            draft = self._make(assignment)
            if draft is not None:
                self._kept.keep(draft)
            self._draft = draft
        except BaseException as error:  # noqa: BLE001 - handed to the worker's own thread by take()
            self._failure = error

    def used(self, draft: Draft | None) -> None:
        """A draft has become a trial, or a recorded refusal; it may be one that was not made here."""
        if draft is not None and draft is self._taken:
            self._kept.drop()

    def left_for_later(self, draft: Draft) -> None:
        """What it cost is recorded now; a study that goes on takes it up."""
        self._kept.keep(draft, paid=True)
