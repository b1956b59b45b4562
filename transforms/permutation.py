"""A keyed permutation of [0, size): the k-th element of a shuffled range, without the range.

A generalised Feistel network over Z_a × Z_b with a·b just above `size`, and cycle walking for the
few values in between (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).
Each element costs the same whatever the size, so a sample of a product of two large sets costs
what the sample costs. A network over very few values is visibly not a random permutation, so a
small range is shuffled outright.
"""

import math

import numpy as np
import numpy.typing as npt

from transforms.seeding import Part, integer, stream

ROUNDS = 8
SHUFFLED_BELOW = 1 << 10
LARGEST = 1 << 62

Positions = npt.NDArray[np.uint64]


def permute(positions: Positions, size: int, *key: Part) -> Positions:
    """Where a permutation of [0, size) that belongs to `key` sends each of `positions`.

    Args:
        positions: whole numbers in [0, size).
        size: the number of elements, 1 to 2**62.
        key: any strings and numbers; another key gives another permutation.

    Raises:
        ValueError: `size` or a position is out of range.
    """
    if not 1 <= size <= LARGEST:
        raise ValueError(f"a permutation needs a size of 1 to 2**62, not {size}")
    if len(positions) and int(positions.max()) >= size:
        raise ValueError(f"position {int(positions.max())} is not below the size {size}")
    if size < SHUFFLED_BELOW:
        return np.array(stream("permutation", *key).sample(range(size), size), np.uint64)[positions]
    left = math.isqrt(size - 1) + 1
    right = -(-size // left)
    keys = [np.uint64(integer(1 << 64, "permutation", step, *key)) for step in range(ROUNDS)]
    image = _feistel(positions.astype(np.uint64), left, right, keys)
    outside = np.flatnonzero(image >= size)
    while len(outside):
        image[outside] = _feistel(image[outside], left, right, keys)
        outside = outside[image[outside] >= size]
    return image


def _feistel(values: Positions, left: int, right: int, keys: list[np.uint64]) -> Positions:
    low, high = values % np.uint64(left), values // np.uint64(left)
    for step, key in enumerate(keys):
        modulus = np.uint64(left if step % 2 == 0 else right)
        low, high = high, (low + _mix(high + key) % modulus) % modulus
    return low + np.uint64(left) * high


def _mix(values: Positions) -> Positions:
    """The finaliser of SplitMix64: every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
