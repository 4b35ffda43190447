"""The table of steps and the speeds, from the records that the steps wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flashlink.flashsim.records import Record

#: The steps in the order of a run; others follow.
ORDER = ("generate", "reference", "parameterize", "simulate", "convert", "analyse", "report")


@dataclass(frozen=True)
class Step:
    """All records of one sub-command together.

    Attributes:
        name: Of the sub-command.
        records: How many times it ran.
        pods: In how many pods.
        sites: Where, sorted.
        events: Sum over the records, as all that follows.
        particles: Generated particles.
        tracks: Reconstructed tracks.
        wall_seconds: Elapsed time.
        cpu_seconds: Processor time.
    """

    name: str
    records: int
    pods: int
    sites: tuple[str, ...]
    events: int
    particles: int
    tracks: int
    wall_seconds: float
    cpu_seconds: float

    @property
    def events_per_second(self) -> float:
        """Of one process, reading and writing included."""
        return self.events / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def particles_per_second(self) -> float:
        """Of one process, reading and writing included."""
        return self.particles / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def events_per_cpu_second(self) -> float:
        """Events for each second of processor time."""
        return self.events / self.cpu_seconds if self.cpu_seconds else 0.0

    @property
    def particles_per_cpu_second(self) -> float:
        """Particles for each second of processor time."""
        return self.particles / self.cpu_seconds if self.cpu_seconds else 0.0


@dataclass(frozen=True)
class Speed:
    """How quick the flash simulation is, by processor time, so that a busy machine does not matter.

    None where a record is missing.

    Attributes:
        flash: The step of the flash simulation.
        reference: That of the reference detector.
        generator: That of the generator.
        detector: Particles for each second of the flash simulation alone, without start-up, reading and writing.
        detector_reference: The same of the reference detector.
    """

    flash: Step | None
    reference: Step | None
    generator: Step | None
    detector: float | None
    detector_reference: float | None

    @property
    def over_reference(self) -> float | None:
        """Rate of particles over that of the reference detector, reading and writing included."""
        return _ratio(self.flash, self.reference, "particles_per_cpu_second")

    @property
    def over_generator(self) -> float | None:
        """Rate of events over that of the generator, reading and writing included."""
        return _ratio(self.flash, self.generator, "events_per_cpu_second")

    @property
    def end_to_end(self) -> float | None:
        """Rate of generator and flash simulation one after the other, as a share of the generator's alone."""
        times = self.over_generator
        return 1 / (1 + 1 / times) if times else None

    @property
    def numbers(self) -> dict[str, float | None]:
        """All of them, by name."""
        return {
            name: getattr(self, name)
            for name in ("detector", "detector_reference", "over_reference", "over_generator", "end_to_end")
        }


def steps(records: Sequence[Record]) -> list[Step]:
    """Sum up records by step, in the order of a run."""
    names = sorted({record.step for record in records}, key=lambda name: (_place(name), name))
    return [_step(name, [record for record in records if record.step == name]) for name in names]


def speed(records: Sequence[Record]) -> Speed:
    """Compare the flash simulation with reference and generator."""
    table = {step.name: step for step in steps(records)}
    return Speed(
        flash=table.get("simulate"),
        reference=table.get("reference"),
        generator=table.get("generate"),
        detector=_detector(records, "simulate"),
        detector_reference=_detector(records, "reference"),
    )


def _detector(records: Sequence[Record], step: str) -> float | None:
    """Particles for each second of a step's detector phase, of the records that note it."""
    noted = [record for record in records if record.step == step and record.numbers.get("detector_seconds")]
    seconds = sum(record.numbers["detector_seconds"] for record in noted)
    return sum(record.particles for record in noted) / seconds if seconds else None


def _step(name: str, records: Sequence[Record]) -> Step:
    return Step(
        name=name,
        records=len(records),
        pods=len({record.pod for record in records if record.pod}),
        sites=tuple(sorted({record.site for record in records if record.site})),
        events=sum(record.events for record in records),
        particles=sum(record.particles for record in records),
        tracks=sum(record.tracks for record in records),
        wall_seconds=sum(record.wall_seconds for record in records),
        cpu_seconds=sum(record.cpu_seconds for record in records),
    )


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _ratio(above: Step | None, below: Step | None, rate: str) -> float | None:
    if above is None or below is None:
        return None
    divisor = getattr(below, rate)
    return float(getattr(above, rate) / divisor) if divisor else None
