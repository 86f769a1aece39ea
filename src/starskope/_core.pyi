"""Types of the compiled core. Every call that computes releases the GIL.

Shape, dtype and layout are checked in the core: TypeError for what is no array, ValueError for an array of another
dtype, number of axes, layout or size. Arrays are native float32, float64 or int32; two-axis arrays need contiguous
rows, at any distance, so a range of columns of a C-contiguous array is accepted without a copy.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

def isa() -> str:
    """Instruction set in use: v2, v3, v4 or baseline."""

def available_isas() -> list[str]:
    """Instruction sets that this build holds and this CPU runs, poorest first."""

def use_isa(name: str) -> None:
    """Change the instruction set for all later calls in this process (for tests; otherwise set STARSKOPE_ISA)."""

def build_info() -> dict[str, str]:
    """Version, compiler, build type, kernel flags and instruction sets of this build."""

def decode_plane(buffer: Buffer, offset: int, out: NDArray[np.float32]) -> None:
    """Write the big-endian float32 plane that starts ``offset`` bytes into ``buffer`` to ``out`` (n_row, n_col)."""

def clip(
    data: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    *,
    sigma_low: float,
    sigma_high: float,
    max_iters: int,
    center: Literal["mean", "median"] | str,
    scale: Literal["std", "mad"] | str = "std",
    mask: NDArray[np.uint8] | None = None,
    frame_weight: NDArray[np.float32] | None = None,
    weight: NDArray[np.float32] | None = None,
    mean: NDArray[np.float32] | None = None,
    median: NDArray[np.float32] | None = None,
    std: NDArray[np.float32] | None = None,
    count: NDArray[np.int32] | None = None,
    rejected: NDArray[np.uint8] | None = None,
) -> None:
    """Reduce each column of ``data`` (n_time, n_series) to statistics of its survivors, written to (n_series,).

    ``data`` is float32 in either byte order, at any address: an array with contiguous rows or a list of rows.
    ``max_iters`` 0 clips nothing, -1 clips until nothing changes. NaN and infinities are missing, as are values where
    ``mask`` (n_time, n_series) is not 0 or a weight is not above 0 and finite. ``frame_weight`` (n_time,) and
    ``weight`` (n_time, n_series) weigh ``mean`` and ``std``. ``rejected`` (n_time, n_series) is 1 where a value was
    clipped.
    """

def add_frames(
    data: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    count: NDArray[np.float64],
    mean: NDArray[np.float64],
    squares: NDArray[np.float64],
    mask: NDArray[np.uint8] | None = None,
) -> None:
    """Add the rows of ``data``, as `clip` takes them, to moments (n_series,): count, mean, sum of squares about it."""

def merge_moments(
    count: NDArray[np.float64],
    mean: NDArray[np.float64],
    squares: NDArray[np.float64],
    other_count: NDArray[np.float64],
    other_mean: NDArray[np.float64],
    other_squares: NDArray[np.float64],
) -> None:
    """Add moments of other values of the same series to the first three."""

def aperture_sums(
    image: NDArray[np.float32],
    row: NDArray[np.float64],
    column: NDArray[np.float64],
    radius: NDArray[np.float64],
    total: NDArray[np.float64],
    area: NDArray[np.float64],
    n_bad: NDArray[np.int32],
    line: NDArray[np.float32] | None = None,
    start: NDArray[np.int64] | None = None,
    weight: NDArray[np.float32] | None = None,
) -> None:
    """Sum over circles with exact pixel overlap, into ``total``, ``area`` and ``n_bad`` (n_star,).

    ``total`` and ``area`` hold finite pixels on the image only (``total`` NaN where there are none); ``n_bad`` counts
    the pixels touched that are not finite or off the image. A surface as in `box_medians` is subtracted first.
    """

def box_medians(
    image: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    line: NDArray[np.float32] | None,
    start: NDArray[np.int64] | None,
    weight: NDArray[np.float32] | None,
    sigma: float,
    median: NDArray[np.float32],
    count: NDArray[np.int32],
) -> None:
    """Write the clipped median of each box into ``median`` (n, m), and how many pixels survived into ``count``.

    Boxes lie between the edges ``rows`` (n + 1,) and ``columns`` (m + 1,). A surface is subtracted first: its row ``r``
    is the sum over k of ``weight[k, r] * line[start[r] + k]``.
    """

def ring_medians(
    image: NDArray[np.float32],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    inner: NDArray[np.float64],
    width: float,
    sigma: float,
    median: NDArray[np.float32],
    count: NDArray[np.int32],
) -> None:
    """Write the clipped median of the pixels with ``inner <= distance < inner + width``, and how many survived."""

def subtract_surface(
    image: NDArray[np.float32] | None,
    line: NDArray[np.float32],
    start: NDArray[np.int64],
    weight: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write ``image`` less a surface as in `box_medians` into ``out``, which may be the image; None for the surface."""

def surface_lines(
    knot: NDArray[np.float32],
    start: NDArray[np.int64],
    weight: NDArray[np.float32],
    line: NDArray[np.float32],
) -> None:
    """Write the lines of a surface (n_line, n_col): ``j`` sums ``weight[k, j] * knot[:, start[j] + k]`` over k."""

def surface_values(
    line: NDArray[np.float32],
    start: NDArray[np.int64],
    weight: NDArray[np.float32],
    row: NDArray[np.float64],
    column: NDArray[np.float64],
    value: NDArray[np.float64],
) -> None:
    """Write the surface at the pixels nearest to places (n_star,) into ``value``, NaN off it."""

def fft(data: NDArray[Any], out: NDArray[Any], n_fft: int, backward: bool = False, factor: float = 1.0) -> None:
    """Transform complex columns of ``data`` (n_time, n_series), padded to ``n_fft``, to ``out`` (n_fft, n_series).

    complex64 or complex128; the results are multiplied by ``factor``.
    """

def rfft(data: NDArray[Any], out: NDArray[Any], n_fft: int, factor: float = 1.0) -> None:
    """Transform real columns of ``data`` (n_time, n_series), padded to ``n_fft``; ``out`` (n_fft // 2 + 1, n_series).

    float32 to complex64 or float64 to complex128. A series with a value that is not finite gives NaN.
    """

def irfft(data: NDArray[Any], out: NDArray[Any], n_fft: int, factor: float = 1.0) -> None:
    """Transform halves of spectra, ``data`` (n_freq, n_series), back to real ``out`` (n_fft, n_series).

    ``n_freq <= n_fft // 2 + 1``; complex64 to float32 or complex128 to float64. A series with a value that is not
    finite gives NaN.
    """

def power_spectrum(
    data: NDArray[np.float32],
    out: NDArray[np.float32],
    window: NDArray[np.float32] | None,
    n_fft: int,
    linear: bool = False,
    density: float = 0.0,
) -> None:
    """Write the power spectra of the columns of ``data`` (n_time, n_series) to ``out`` (n_fft // 2 + 1, n_series).

    Each series loses its mean, or with ``linear`` a straight line, missing points (NaN, infinities) become 0, and
    ``window`` (n_time,) is applied; a sine of amplitude A on the grid has power A**2. With ``density``, the cadence,
    power is per unit of frequency. NaN for a series without a point.
    """

def autocorrelation(data: NDArray[np.float32], out: NDArray[np.float32], unbiased: bool = False) -> None:
    """Write the autocorrelations of the columns of ``data`` (n_time, n_series) to ``out`` (n_lag, n_series).

    1 at lag 0: sums over the pairs that are there, with ``unbiased`` means over them. NaN for a series without scatter.
    """

def spectrogram(
    data: NDArray[np.float32],
    out: NDArray[np.float32],
    window: NDArray[np.float32] | None,
    segment: int,
    step: int,
    linear: bool = False,
    density: float = 0.0,
) -> None:
    """Write `power_spectrum` of rows ``i * step .. i * step + segment - 1`` to ``out[i]`` for every whole segment.

    ``out`` (1 + (n_time - segment) // step, segment // 2 + 1, n_series) may be a range of series of a larger array.
    """

def lomb_scargle(
    data: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    out: NDArray[np.float32],
    n_fft: int,
    count: NDArray[np.float64] | None = None,
    spread: NDArray[np.float64] | None = None,
) -> None:
    """Write Lomb-Scargle periodograms at ``(row + 1) / n_fft`` per cadence to ``out`` (n_freq, n_series).

    Floating mean, standard normalisation. ``weights`` (n_time,) or (n_time, n_series), relative; points without a
    weight above 0 are missing, as NaN and infinities in ``data`` are. ``n_freq <= n_fft // 2``. NaN for a series of
    fewer than 4 points or without variance. ``count`` and ``spread`` (n_series,), both or neither: points of each
    series, and the weighted variance of the numbers of their rows.
    """

class BoxSearch:
    """Stars made ready for the box search: fixed-point copies of their series. Times must increase.

    ``error`` is (n_time, n_star), (n_time, 1), (1, n_star) or None (1 everywhere). NaN and infinities are missing, in
    ``flux`` and ``error``.
    """

    def __init__(
        self, time: NDArray[np.float64], flux: NDArray[np.float32], error: NDArray[np.float32] | None = None
    ) -> None: ...
    @property
    def weight(self) -> NDArray[np.float64]:
        """Sum of ``error**-2`` over the points of each star (n_star,)."""

    def run(
        self,
        period: NDArray[np.float64],
        *,
        duration: NDArray[np.float64],
        oversample: int,
        first: NDArray[np.int32],
        last: NDArray[np.int32],
        likelihood: bool,
        power: NDArray[np.float32] | None = None,
        inverted: NDArray[np.float32] | None = None,
        depth: NDArray[np.float32] | None = None,
        index: NDArray[np.int32] | None = None,
        start: NDArray[np.int32] | None = None,
    ) -> None:
        """Write the best box of every period and star, (n_period, n_star).

        At each period the durations ``first <= k < last`` are tried, in bins of ``duration[first] / oversample``, as
        far as they leave a bin outside.
        """

class BoxScan:
    """Stars made ready for long grids of periods, as `BoxSearch` takes them."""

    def __init__(
        self, time: NDArray[np.float64], flux: NDArray[np.float32], error: NDArray[np.float32] | None = None
    ) -> None: ...
    def run(
        self,
        period: NDArray[np.float64],
        *,
        duration: NDArray[np.float64],
        oversample: int,
        first: NDArray[np.int32],
        last: NDArray[np.int32],
        likelihood: bool,
        power: NDArray[np.float32],
        inverted: NDArray[np.float32] | None = None,
    ) -> None:
        """Write the gain of the best box, and of the best upside down, of every period and star (n_period, n_star).

        Bins are at most ``duration[first] / oversample`` wide, their number a multiple of 16; points may count in the
        bin beside their own.
        """

def best_peak(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    cadence: float,
    upside_down: bool,
    statistic: NDArray[np.float32],
    period: NDArray[np.float64],
    shortest: NDArray[np.float64],
    longest: NDArray[np.float64],
    edge: NDArray[np.int64],
    centre: NDArray[np.float64],
) -> tuple[float, tuple[float, ...] | None]:
    """Vet the best peak of a spectrum (n_period,) on the points of a star (n_point,), as `vetting.best_peak` says.

    Returns the efficiency of the peak, and the fields of `vetting.Vetted` or None.
    """

def detrend_spectrum(
    statistic: NDArray[np.float32],
    edge: NDArray[np.int64],
    centre: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write the efficiency of a spectrum (n_period,) over the trend of its bands, as `detrended_spectrum.detrend`."""

def locate_box(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    cadence: float,
    period: float,
    shortest: float,
    longest: float,
) -> tuple[float, float, float] | None:
    """Return period, first mid-transit and duration of the best box at one period; None where nothing dips."""

def refine_box(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    cadence: float,
    period: float,
    t0: float,
    duration: float,
    frequency_step: float,
    shortest: float,
    longest: float,
) -> tuple[float, float, float]:
    """Return period, first mid-transit and duration of the best box near one, as `refine.refine`."""

def single_dips(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    cadence: float,
    duration: NDArray[np.float64],
    forbidden: NDArray[np.float64],
    n_dip: int,
) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
    """Return the most significant dips and rises of a star, each the fields of `single.Dip`."""

def centre_series(flux: NDArray[np.float32], part: NDArray[np.int64], n_part: int, out: NDArray[np.float32]) -> None:
    """Write every series of ``flux`` (n_time, n_star) over its median less 1, as `series.centred`, part by part."""

class Md5Lanes:
    """What MD5 sums share that are computed side by side: each keeps up to ``backlog_bytes`` that are not yet hashed.

    Not for use in the child of a fork.
    """

    def __init__(self, backlog_bytes: int = 1048576) -> None: ...

class Md5:
    """The MD5 (RFC 1321) of bytes that come in pieces; any thread may call."""

    def __init__(self, lanes: Md5Lanes) -> None: ...
    def update(self, data: Buffer) -> None:
        """Add contiguous bytes; returns when they may be overwritten."""

    def digest(self) -> bytes:
        """Return the 16 bytes of the sum so far."""

class ContrastiveDivergence:
    """A restricted Boltzmann machine that learns.

    ``state`` holds float32 arrays by name and is copied: ``weights`` (n_visible, n_hidden), ``visible_bias`` and
    ``visible_offset`` (n_visible,), ``hidden_bias`` and ``hidden_offset`` (n_hidden,); or None: ``chains`` (batch_size,
    n_hidden), ``weight_velocity``, ``visible_velocity``, ``hidden_velocity``. ``emulate`` leaves instructions for
    bfloat16 unused.
    """

    def __init__(
        self,
        state: dict[str, NDArray[np.float32] | None],
        *,
        gaussian: bool,
        mixed: bool = False,
        emulate: bool = False,
        centered: bool,
        has_hidden_offset: bool,
        k: int,
        batch_size: int,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        offset_rate: float,
        seed: list[int],
    ) -> None: ...
    def learn(self, data: NDArray[np.float32], order: NDArray[np.int64], epoch: int, first_batch: int) -> None:
        """Update once per ``batch_size`` rows ``order`` (n,) of ``data`` (n_row, n_visible)."""

    def admit(self) -> None:
        """Let `help` in other threads take part, until `release`."""

    def help(self) -> None:
        """Take part in the work of `learn` until `release`."""

    def release(self) -> None:
        """End all `help`."""

    def store(self, state: dict[str, NDArray[np.float32] | None]) -> None:
        """Write the state to arrays like those that it came from."""

    def finite(self) -> bool:
        """Tell whether all weights are finite."""

def has_bfloat16() -> bool:
    """Tell whether mixed precision has instructions of the CPU in the instruction set in use."""

def hidden_probabilities(
    data: NDArray[np.float32],
    weights: NDArray[np.float32],
    visible_bias: NDArray[np.float32],
    hidden_bias: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write probabilities of hidden units given the rows of ``data`` to ``out`` (n_row, n_hidden)."""

def free_energy(
    data: NDArray[np.float32],
    weights: NDArray[np.float32],
    visible_bias: NDArray[np.float32],
    hidden_bias: NDArray[np.float32],
    *,
    gaussian: bool,
    out: NDArray[np.float64],
) -> None:
    """Write free energies of the rows of ``data`` to ``out`` (n_row,)."""

def gibbs(
    data: NDArray[np.float32],
    weights: NDArray[np.float32],
    visible_bias: NDArray[np.float32],
    hidden_bias: NDArray[np.float32],
    *,
    gaussian: bool,
    n_steps: int,
    seed: list[int],
    first_row: int,
    out: NDArray[np.float32],
) -> None:
    """Write visible states after Gibbs steps from the rows of ``data`` to ``out`` (n_row, n_visible)."""

def describe_rows(data: NDArray[np.float32], sums: NDArray[np.float64]) -> tuple[float, float]:
    """Write sums of columns to ``sums``, not finite where ``data`` are not, and return the range of the values."""

def first_weights(out: NDArray[np.float32], *, deviation: float, seed: list[int], first_row: int) -> None:
    """Draw the rows ``first_row ...`` of the weights that training starts from to ``out`` (n_row, n_hidden)."""
