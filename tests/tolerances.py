"""How far a float32 kernel may stand from its float64 oracle, as functions that state the reason.

Owns every tolerance of the oracle tests. A test takes its number from here or compares bytes; it invents none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def unit_roundoff(dtype: DTypeLike) -> float:
    """Largest relative error of one correctly rounded operation in ``dtype``: half its epsilon."""
    return float(np.finfo(dtype).eps) / 2.0


def smallest_step() -> float:
    """Distance of neighbouring float32 numbers below 1.2e-38, where the error of storing is absolute, not relative."""
    return float(np.finfo(np.float32).smallest_subnormal)


def rtol(dtype: DTypeLike, n: int) -> float:
    """Relative error, against the sum of magnitudes over n, of a mean of n values that the kernel returns as ``dtype``.

    Storing the result costs one rounding; summation by pairs costs at most ceil(log2 n) more (Higham, Accuracy and
    Stability, eq. 4.6), and float64 sums none. A running float32 sum (n roundings) lies outside: that is the fault it
    is here to show.
    """
    return (2 + math.ceil(math.log2(max(n, 2)))) * unit_roundoff(dtype)


def atol_mean(n: int, magnitude: float) -> float:
    """Absolute error of a mean of n float32 values no larger than ``magnitude``, one subnormal step included."""
    return rtol(np.float32, n) * magnitude + smallest_step()


def atol_std(n: int, magnitude: float, std: float) -> float:
    """Absolute error of a population standard deviation of n float32 values around any offset up to ``magnitude``.

    In a two-pass (or shifted) computation each deviation carries one rounding relative to itself plus the error of
    the mean, which enters only in second order when std is large against it and as itself when std is smaller. A
    one-pass ``E[x^2] - E[x]^2`` in float32 would err by ``magnitude * sqrt(eps)``: with 1e5 of offset 35 units, far
    outside.
    """
    return (
        rtol(np.float32, n) * (2.0 * std + magnitude * rtol(np.float32, n))
        + 2.0 * unit_roundoff(np.float32) * magnitude
        + smallest_step()
    )


def clip_margin(n: int) -> float:
    """Distance to a clipping bound, in the scale of `reference.clip_one`, below which both answers are right.

    The bound is centre +- sigma std. Its error has a part in proportion to std (sums over n) and one in proportion to
    the values themselves (about two float32 roundings); the scale adds both, the second with weight 1/64.
    """
    return 16.0 * rtol(np.float32, n)


def atol_aperture(magnitude: float, n_pixel: int) -> float:
    """Absolute error of a float64 aperture sum whose terms have absolute sum ``magnitude``."""
    return rtol(np.float64, n_pixel) * magnitude


def atol_area(radius: float) -> float:
    """Absolute error of the area common to circle and pixels, in float64.

    Where a circle grazes a pixel the chord is the root of a difference of squares and keeps half its digits: 1e-8
    of the radius, and the sliver above it some 1e-9. Photometry feels no difference below 1e-7.
    """
    return 1e-9 * (1.0 + radius)


def atol_box_level(std: float) -> float:
    """Absolute error of the clipped median of a box whose pixels scatter by ``std``.

    It is read off a histogram: a few hundredths of std where pixels are spread like noise or a slope, against the
    statistical error of a median, 1.25 std / sqrt(n), of the same size for a box of 32 x 32.
    """
    return 0.03 * std


def atol_pixel() -> float:
    """Largest difference of two TAN-SIP codes in pixels: 21 microarcseconds on TESS."""
    return 1e-6


def atol_barycentric_s() -> float:
    """Seconds by which two evaluations of observer . direction may differ: 500 light-seconds at 1e-9 relative."""
    return 5e-7


def atol_biweight(magnitude: float, mad: float) -> float:
    """Absolute error of a biweight location of float32 values up to ``magnitude`` in a window of that MAD.

    Storing the median, adding the location to it and storing the sum each cost a rounding at the size of the values;
    their median as a float32 shifts the MAD by one more, of which the location takes a part. The iteration itself ends
    within 1e-6 MAD, ours and the rival's each, and float32 sums in the window add as much again.
    """
    return 4.0 * unit_roundoff(np.float32) * magnitude + 4e-6 * mad + smallest_step()


def atol_power(n: int, amplitude: float, rms: float) -> float:
    """Absolute error of a power ``amplitude**2`` from a float32 transform of n points whose rows have r.m.s. amplitude.

    Each row of a transform errs by some units of roundoff times sqrt(log2 n), relative to the r.m.s. of all rows
    (Higham, Accuracy and Stability, sec. 24.1), not to itself; squaring doubles it.
    """
    error = 8.0 * unit_roundoff(np.float32) * math.sqrt(math.log2(max(n, 2))) * rms
    return 2.0 * amplitude * error + error * error + smallest_step()


def atol_lomb_scargle(n: int) -> float:
    """Absolute error of a standard Lomb-Scargle power from float32 transforms of n points, or from nifty-ls at 1e-9.

    As `atol_power` with a variance of 1, times 8: where a frequency makes less than a cycle over the series, cosine and
    sine are nearly constant and a slope, and fitting them beside the mean amplifies roundoff.
    """
    return 64.0 * unit_roundoff(np.float32) * math.sqrt(math.log2(max(n, 2)))


def rtol_box(n: int) -> float:
    """Relative error of the objective of a best box over n points of like weight.

    Three float32 roundings (the sum of the box, the root of its weights, their product), squared, and the storing: 7
    units. The series is fixed-point with a step of sum(|deviation|) / 2^32, so the sum of a box errs by at most its
    number of points in steps, against a sum that in the best box is at least of the order of one deviation.
    """
    return 8.0 * unit_roundoff(np.float32) + 2.0 * n * n * 2.0**-32 / max(n, 1) ** 0.5


def atol_trained(n_step: int, magnitude: float) -> float:
    """Absolute error of parameters after ``n_step`` float32 updates from data up to ``magnitude``.

    Each update adds a mean of products whose rounding is a few parts of the data's size; the errors of one step shift
    the next by less than their own size over so few.
    """
    return 8.0 * n_step * unit_roundoff(np.float32) * max(1.0, magnitude)


def atol_mixed(n_step: int, magnitude: float, *, rate: float, n_row: int) -> float:
    """Absolute error of parameters after ``n_step`` mixed-precision updates from data up to ``magnitude``.

    That of float32, and where a number lies within float32 roundoff of the middle between two of bfloat16, one of some
    ten thousand, it is rounded to the other side: 2^-9 of a product of it in a mean over ``n_row``.
    """
    return atol_trained(n_step, magnitude) + 2.0 * rate * magnitude * 2.0**-9 / n_row


def rtol_transform(n: int, dtype: DTypeLike = np.float32) -> float:
    """Relative L2 error of a Fourier transform of n points, forward or backward, in ``dtype``.

    Errors of the log2 n levels of butterflies and twiddles add up like a random walk, each about one roundoff against
    the whole (Higham, Accuracy and Stability, sec. 24.1); a large prime is two transforms of up to four times its
    length.
    """
    return 3.0 * unit_roundoff(dtype) * math.sqrt(math.log2(max(n, 2)))
