"""One axis of a view: the matrix from a picture's rows (or columns) to PDQ's 64 blurred samples of an interval.

Cropping, padding, mirroring, PDQ's blur and its sampling are all linear along each axis. So any view whose sides are
parallel to the picture's is two small matrices, one an axis, and thousands of views are two matrix products.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

GRID = 64
COEFFICIENTS = 16
SIDE = 512
"""The size that the banks' reference shrinks to; every view is hashed as a picture of this size."""

_WINDOW = SIDE // (2 * GRID)

RIMS = ("mirror", "edge", "soft")
"""How what lies outside the picture is guessed: mirrored; the outermost line repeated; lines averaged the wider the
further out, which adds no structure that was not there and is the best single guess for wide rims."""


Weights = npt.NDArray[np.float64]


def blurred_samples(length: int) -> Weights:
    """The 64 x length matrix of PDQ's two box blurs and its sampling along one axis."""
    window = -(-length // (2 * GRID))
    ahead = (window + 2) // 2 - 1
    behind = window - ahead - 1

    def reach(at: int) -> range:
        return range(max(0, at - behind), min(length, at + ahead + 1))

    blurred = np.zeros((GRID, length))
    for row, at in enumerate(((np.arange(GRID) + 0.5) * length / GRID).astype(int)):
        for middle in reach(at):
            inner = reach(middle)
            blurred[row, inner.start : inner.stop] += 1 / (len(reach(at)) * len(inner))
    return blurred


def cosine_transform() -> Weights:
    """The 16 x 64 cosine transform of PDQ, frequencies 1 to 16."""
    frequency = np.arange(1, COEFFICIENTS + 1)[:, np.newaxis]
    return np.asarray(np.cos(np.pi / 2 / GRID * frequency * (2 * np.arange(GRID) + 1)))


@lru_cache(maxsize=1)
def cosine() -> Matrix:
    """`cosine_transform` in the width of a picture's luma."""
    return cosine_transform().astype(np.float32)


@lru_cache(maxsize=1)
def _blur() -> Weights:
    return blurred_samples(SIDE)


@lru_cache(maxsize=1)
def _spectrum() -> Weights:
    return np.asarray(cosine_transform() @ _blur())


def centred_blur(luma: Matrix) -> Matrix:
    """The luma under two box blurs of PDQ's width, placed so that nothing shifts.

    The width is a few pixels, so that adding the shifted picture that often costs less than running sums.
    """
    for axis in (0, 1):
        length = luma.shape[axis]
        window = max(1, round(_WINDOW * length / SIDE))
        for ahead in (window // 2, (window - 1) // 2):
            pad = [(0, 0), (0, 0)]
            pad[axis] = (window - 1 - ahead, ahead)
            padded = np.pad(luma, pad, mode="edge")
            lines = [slice(None), slice(None)]
            lines[axis] = slice(0, length)
            luma = padded[tuple(lines)].copy()
            for shift in range(1, window):
                lines[axis] = slice(shift, shift + length)
                luma += padded[tuple(lines)]
            luma /= window
    return luma


@lru_cache(maxsize=4)
def sampling(length: int) -> Matrix:
    """The 64 x `length` matrix that samples a whole axis."""
    return _over(_blur(), length, 0.0, 1.0, RIMS[0])


def transform(
    length: int, start: float = 0.0, stop: float = 1.0, *, mirrored: bool = False, rim: str = "soft"
) -> Matrix:
    """The 16 x `length` matrix to PDQ's frequencies of the interval from `start` to `stop`, fractions of the axis.

    Under 0 and over 1 the axis is continued by `rim`, of `RIMS`. Mirrored, it is the transform of the interval seen
    from the other end.
    """
    if mirrored:
        return _transform(length, 1 - stop, 1 - start, rim)[:, ::-1]
    return _transform(length, start, stop, rim)


@lru_cache(maxsize=1024)
def _transform(length: int, start: float, stop: float, rim: str) -> Matrix:
    return _over(_spectrum(), length, start, stop, rim)


def warm_up() -> None:
    """Make the matrices of whole axes, of a shrunk picture's and of any part's of it that is worth a view."""
    for length in range(GRID, SIDE + 1):
        transform(length)
    sampling(SIDE)


def continued(picture: Matrix, reach: int) -> Matrix:
    """The `reach` lines before the first of a picture that is longer, the outermost on top, by the "soft" rim."""
    total = np.cumsum(picture[:reach], axis=0)
    # A line so far outside is the mean of as many inside, and of half the next.
    total += picture[1 : reach + 1] * np.float32(0.5)
    total /= np.arange(1.5, reach + 1, dtype=np.float32)[:, np.newaxis]
    return total[::-1]


def _over(weights: Weights, length: int, start: float, stop: float, rim: str) -> Matrix:
    lines = (start + (stop - start) * (np.arange(SIDE) + 0.5) / SIDE) * length - 0.5
    first, last = lines < -0.5, lines > length - 0.5
    inside = ~(first | last)
    found = _interpolated(weights[:, inside], np.clip(lines[inside], 0, length - 1), length)
    if first.any():
        found += _continued(weights[:, first], -lines[first] - 0.5, length, rim)
    if last.any():
        found += _continued(weights[:, last], lines[last] - length + 0.5, length, rim)[:, ::-1]
    return found.astype(np.float32)


def _continued(weights: Weights, outside: Weights, length: int, rim: str) -> Weights:
    """Weights on the lines counted from the edge inwards, for samples so many lines `outside` it."""
    if rim == "mirror":
        return _interpolated(weights, np.clip(outside - 0.5, 0, length - 1), length)
    reach = np.minimum(outside + 1, length) if rim == "soft" else np.full(outside.shape, min(2.0, length))
    share = np.clip(reach[:, np.newaxis] - np.arange(length), 0, 1)
    return np.asarray(weights @ (share / share.sum(axis=1, keepdims=True)))


def _interpolated(weights: Weights, lines: Weights, length: int) -> Weights:
    low = np.floor(lines).astype(np.int64)
    share = lines - low
    row = np.arange(len(weights))[:, np.newaxis] * length
    places = np.concatenate([row + low, row + np.minimum(low + 1, length - 1)], axis=1)
    parts = np.concatenate([weights * (1 - share), weights * share], axis=1)
    found = np.bincount(places.ravel(), parts.ravel(), len(weights) * length)
    return np.asarray(found, dtype=np.float64).reshape(len(weights), length)
