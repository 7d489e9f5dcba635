"""What the predictor records of an ended run, and whether the trial is run again. Pure."""

from dataclasses import dataclass

from swarm.admission.policy.model import Ending
from swarm.admission.policy.oom import Infeasible, Observed, Retry, after_oom, needed_mib, round_up
from swarm.admission.policy.predict import PeakRecord, Source
from swarm.admission.policy.request import Request

AFTER_RETRIES = 1.05
TOO_SMALL = (Ending.OWN_CAP, Ending.OVER_RESERVATION)


@dataclass(frozen=True, slots=True)
class EndedRun:
    """One run that has ended, and under which reservation it ran. `observed` is None when nothing was measured."""

    request: Request
    reservation_mib: int
    alone: bool
    predicted_mib: int
    source: Source
    ending: Ending
    observed: Observed | None

    def following(self, context_mib: int, room_mib: int) -> Retry | Infeasible | None:
        """`room_mib`: what a lone job may have."""
        return after_oom(
            self.ending,
            reservation_mib=self.reservation_mib,
            attempt=self.request.attempt,
            alone=self.alone,
            needed=0 if self.observed is None else needed_mib(self.observed.report, context_mib),
            device_mib=room_mib,
        )

    def peak_record(self, device: str, on_device_mib: int = 0) -> PeakRecord | None:
        """None when it proves nothing: no peak, no name, or cut short before it had passed what was predicted.

        `on_device_mib`: what the driver saw of it at most, less a context. It counts what was allocated around the
        allocator or above a lifted cap; 0 where the driver does not tell.
        """
        observed = self.observed
        if observed is None or not self.request.code_sha256:
            return None
        too_small = self.ending in TOO_SMALL
        report = observed.report
        if observed.peak_mib is None and report is None:
            return None
        # A training that ran out of memory has left no peak: what it held and what it asked for is its least.
        peak = max(observed.peak_mib or 0, on_device_mib)
        if report is not None:
            peak = max(peak, report.reserved_mib + report.requested_mib)
        if observed.alloc_retries and not too_small:
            peak = round_up(peak * AFTER_RETRIES)  # it succeeded, but only just: the next one gets a little more
        if self.ending is not Ending.CLEAN and not too_small and not 0 < self.predicted_mib < peak:
            return None
        return PeakRecord(
            code_sha256=self.request.code_sha256,
            peak_mib=peak,
            reservation_mib=self.reservation_mib,
            predicted_mib=self.predicted_mib,
            source=self.source,
            # With a lifted cap a run succeeds on memory that it never reserved: the prediction was too small as well.
            too_small=too_small or (observed.cap_lifted and peak > self.reservation_mib),
            device=device,
            cap_lifted=observed.cap_lifted,
        )
