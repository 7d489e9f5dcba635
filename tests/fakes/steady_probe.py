"""A probe of devices whose readings a test sets by hand."""

from swarm.gpu.reading import Attribution, DeviceKind, DeviceReading

CARD = DeviceReading("GPU-a", "Fake 4090", 24564, 24100, 464, Attribution.MATCHED)
RAM = DeviceReading("CPU-0", "steady", 16_000, 16_000, 0, Attribution.MATCHED)


class SteadyProbe:
    def __init__(self, *readings: DeviceReading) -> None:
        self.readings = readings
        self.kind: DeviceKind = "cpu" if readings[0].uuid.startswith("CPU-") else "cuda"
        self.name = readings[0].name

    def read(self) -> tuple[DeviceReading, ...]:
        return self.readings
