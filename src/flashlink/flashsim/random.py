"""Random numbers that belong to a particle and not to a moment: counter-based, so that order and batches do not matter.

The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11
(doi:10.1145/2063384.2063405): a keyed bijection of 128-bit counters. Here the key is made of seed and step, the
counter of event, particle and number of the draw.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

#: Counters a pass: the working arrays of one pass stay in the second-level cache.
_CHUNK = 4096


@dataclass(frozen=True)
class Stream:
    """The random numbers of one step of a production.

    Two streams with different `seed` or `step` have nothing in common. Within one, the numbers of a particle are a
    function of (event, particle) alone. The resolution is 32 bits: a uniform number is never 0 or 1, a normal one never
    beyond 6.8.

    Args:
        seed: Seed of the production, any integer.
        step: Name of what the numbers are for, such as ``"reference/scattering"``.

    Examples:
        >>> stream = Stream(seed=1, step="example")
        >>> both = stream.uniform(np.array([7, 8]), np.array([0, 0]), draws=3)
        >>> both.shape
        (3, 2)
        >>> bool((both[:, 1] == stream.uniform(np.array([8]), np.array([0]), draws=3)[:, 0]).all())
        True
    """

    seed: int
    step: str

    def uniform(self, event: npt.ArrayLike, particle: npt.ArrayLike, draws: int) -> Floats:
        """Numbers in the open interval (0, 1).

        Args:
            event: Event numbers, shape (n,), 64 bits.
            particle: Particle numbers, shape (n,), 32 bits; for one set of numbers an event, give 0.
            draws: How many numbers for each particle. The first numbers do not depend on how many are drawn.

        Returns:
            Shape (draws, n).
        """
        events = np.atleast_1d(np.asarray(event, dtype=np.int64)).view(np.uint64)
        particles = np.broadcast_to(np.asarray(particle, dtype=np.int64), events.shape).astype(np.uint64) & _LOW
        blocks = -(-draws // 4)
        numbers = np.empty((4 * blocks, len(events)))
        for start in range(0, len(events), _CHUNK):
            part = slice(start, start + _CHUNK)
            low, high, which = events[part] & _LOW, events[part] >> _HALF, particles[part]
            for block in range(blocks):
                words = philox((low, high, which, np.full_like(low, block)), self.key)
                for row, word in enumerate(words):
                    np.multiply(word, 2.0**-32, out=numbers[4 * block + row, part])
        numbers += 2.0**-33
        return numbers[:draws]

    def normal(self, event: npt.ArrayLike, particle: npt.ArrayLike, draws: int) -> Floats:
        """Numbers of the standard normal distribution, by the transformation of Box and Muller.

        Args:
            event: Event numbers, shape (n,).
            particle: Particle numbers, shape (n,).
            draws: How many numbers for each particle.

        Returns:
            Shape (draws, n).
        """
        pairs = -(-draws // 2)
        numbers = self.uniform(event, particle, 2 * pairs)
        for start in range(0, numbers.shape[1], _CHUNK):
            part = numbers[:, start : start + _CHUNK]
            radius = np.sqrt(-2 * np.log(part[0::2]))
            angle = 2 * np.pi * part[1::2]
            part[0::2] = radius * np.cos(angle)
            part[1::2] = radius * np.sin(angle)
        return numbers[:draws]

    @property
    def key(self) -> tuple[int, int]:
        """The Philox key: 64 bits of a digest of seed and step."""
        digest = hashlib.blake2b(f"{self.seed}\0{self.step}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


@dataclass(frozen=True)
class Draws:
    """The random numbers of some particles, whatever their number or order: functions of seed, event and particle.

    Attributes:
        seed: Seed of the production.
        event: Event of each particle, shape (particles,).
        particle: Its number in the event, shape (particles,).
    """

    seed: int
    event: npt.NDArray[np.int64]
    particle: npt.NDArray[np.int64]

    def uniform(self, step: str, draws: int) -> Floats:
        """Numbers between 0 and 1 for one step, shape (draws, particles)."""
        return Stream(self.seed, step).uniform(self.event, self.particle, draws)

    def normal(self, step: str, draws: int) -> Floats:
        """Standard normal numbers for one step, shape (draws, particles)."""
        return Stream(self.seed, step).normal(self.event, self.particle, draws)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Draws:
        """The random numbers of some of the particles."""
        return Draws(self.seed, self.event[rows], self.particle[rows])


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10 of many counters at once.

    Args:
        counter: The four 32-bit words of each counter, low word first, each as an array of 64-bit integers.
        key: The two 32-bit words of the key.

    Returns:
        The four words of each result, in the same form.
    """
    first, second, third, fourth = (word.copy() for word in counter)
    key_0, key_1 = key
    for _ in range(_ROUNDS):
        first *= _MULTIPLIERS[0]
        third *= _MULTIPLIERS[1]
        second ^= third >> _HALF
        second ^= np.uint64(key_0)
        fourth ^= first >> _HALF
        fourth ^= np.uint64(key_1)
        third &= _LOW
        first &= _LOW
        first, second, third, fourth = second, third, fourth, first
        key_0, key_1 = (key_0 + _WEYL[0]) & 0xFFFFFFFF, (key_1 + _WEYL[1]) & 0xFFFFFFFF
    return first, second, third, fourth
