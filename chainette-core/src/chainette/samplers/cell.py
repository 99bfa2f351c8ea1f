"""The random numbers of one cell of a table: of its seed, its column and its row alone."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, MutableSequence
from hashlib import blake2b
from typing import Any, NoReturn

_SMALL = 1 << 32
"""Up to here, 64 bits favour no value by more than one in four thousand millions."""


class CellRandom(random.Random):
    """The random numbers of a cell, with the methods of `random.Random`.

    They come from a hash (BLAKE2b) and not from a state, so that no cell depends on another one.
    What other versions of Python might compute in another way is computed here.
    """

    def __init__(self) -> None:  # the base would take a seed from the operating system
        self._column = blake2b(digest_size=8)
        self._position = 0

    @staticmethod
    def column(seed: int, name: str) -> blake2b:
        """The beginning of the hash of each number of a column.

        Args:
            seed: The seed of the table.
            name: The column.
        """
        return blake2b(f"rows 1\0{seed}\0{name}".encode(errors="surrogatepass"), digest_size=8)

    def start(self, column: blake2b, row_id: int) -> None:
        """Go to the first number of a cell."""
        self._column = column
        self._position = row_id << 32

    def word(self) -> int:
        """The next 64 random bits."""
        digest = self._column.copy()
        digest.update(self._position.to_bytes(16, "little"))
        self._position += 1
        return int.from_bytes(digest.digest(), "little")

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1; each is equally likely."""
        if n <= _SMALL:
            return self.word() * n >> 64
        bits = n.bit_length() + 64
        return self.getrandbits(bits) * n >> bits

    def random(self) -> float:
        """A number from 0 to 1, without 1."""
        return (self.word() >> 11) * 2.0**-53

    def getrandbits(self, k: int, /) -> int:
        """A whole number of so many random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        words, value = -(-k // 64), 0
        for _ in range(words):
            value = value << 64 | self.word()
        return value >> (64 * words - k)

    def randbytes(self, n: int) -> bytes:
        """Random bytes."""
        return self.getrandbits(8 * n).to_bytes(n, "little")

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """An element of a range."""
        numbers = range(start) if stop is None else range(start, stop, step)
        if not numbers:
            raise ValueError(f"empty {numbers}")
        # Its length may be more than `len` can say.
        return numbers[self.below((numbers[-1] - numbers[0]) // step + 1)]

    def randint(self, a: int, b: int) -> int:
        """A whole number from a to b, both included."""
        return self.randrange(a, b + 1)

    def choice(self, seq: Any) -> Any:
        """An element of a sequence."""
        if not len(seq):
            raise IndexError("cannot choose from an empty sequence")
        return seq[self.below(len(seq))]

    def shuffle(self, x: MutableSequence[Any], *_: Any) -> None:
        """Put a list into another order."""
        for last in range(len(x) - 1, 0, -1):
            other = self.below(last + 1)
            x[last], x[other] = x[other], x[last]

    def sample(self, population: Any, k: int, *, counts: Iterable[int] | None = None) -> list[Any]:
        """Different elements of a sequence, in random order."""
        if counts is not None:
            pairs = zip(population, counts, strict=True)
            population = [element for element, count in pairs for _ in range(count)]
        n = len(population)
        if not 0 <= k <= n:
            raise ValueError("sample larger than population or is negative")
        moved: dict[int, int] = {}  # of a list of indexes, what has changed
        chosen = []
        for last in range(n - 1, n - 1 - k, -1):
            index = self.below(last + 1)
            chosen.append(population[moved.get(index, index)])
            moved[index] = moved.get(last, last)
        return chosen

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """A number of a normal distribution (Box and Muller, https://doi.org/10.1214/aoms/1177706645)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.random()))
        return mu + sigma * radius * math.cos(2.0 * math.pi * self.random())

    def normalvariate(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """A number of a normal distribution."""
        return self.gauss(mu, sigma)

    def seed(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse another seed: numbers depend on that of the table."""
        raise TypeError("the seed is that of rows(…, seed=…); each cell has its own numbers")
