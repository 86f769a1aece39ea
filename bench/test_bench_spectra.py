"""Power spectra, spectrograms and Lomb-Scargle periodograms of a thousand stars and more, one thread each.

Every contender has the layout that suits it best: ours time-major, the libraries one star after the other. SciPy and
ducc0 give the transform; the chain around it (mean, window, square, scale) is written as fast as NumPy allows, and for
ducc0 in the blocks of stars that a trial finds fastest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import harness
import numpy as np
import pytest
import scipy.fft
import scipy.signal
from mkl_rival import mkl_on_one_thread
from numpy.typing import NDArray

from starskope.search.lombscargle import lomb_scargle
from starskope.search.power import power_spectrum
from starskope.search.segments import spectrogram

Compare = Callable[..., harness.Row]
F32 = NDArray[np.float32]

CADENCE = 1800.0 / 86400.0
N_GRID, N_POINT, N_STAR = 1282, 1222, 1000


def stars(n_time: int, n_star: int) -> F32:
    """Make noise with one sine each, around 1, time-major."""
    rng = np.random.default_rng([n_time, n_star])
    x = rng.normal(1.0, 1e-3, size=(n_time, n_star)).astype(np.float32)
    x += 1e-3 * np.sin(2 * np.pi * np.outer(np.arange(n_time), rng.uniform(0.001, 0.4, n_star))).astype(np.float32)
    return x


def scale_of(window: F32, n: int) -> F32:
    scale = np.full(n // 2 + 1, 4.0 / window.sum(dtype=np.float64) ** 2)
    scale[0] /= 4.0
    if n % 2 == 0:
        scale[-1] /= 4.0
    return scale.astype(np.float32)


def with_scipy(x: F32, window: F32, scale: F32) -> F32:
    """Transform all stars at once, (n_star, n_time)."""
    spectrum = scipy.fft.rfft((x - x.mean(axis=1, keepdims=True)) * window, axis=1, workers=1)
    power: F32 = spectrum.real**2 + spectrum.imag**2
    power *= scale
    return power


def with_blocks(transform: Callable[[F32, Any], object], x: F32, window: F32, scale: F32, out: F32, block: int) -> F32:
    """Transform ``block`` stars at a time, in scratch that stays in cache."""
    half = np.empty((block, out.shape[1]), np.complex64)
    windowed = np.empty((block, x.shape[1]), np.float32)
    for start in range(0, len(x), block):
        part = x[start : start + block]
        y, spectrum, power = windowed[: len(part)], half[: len(part)], out[start : start + block]
        np.subtract(part, part.mean(axis=1, keepdims=True), out=y)
        y *= window
        transform(y, spectrum)
        squares = spectrum.view(np.float32)
        np.multiply(squares, squares, out=squares)
        np.add(squares[:, ::2], squares[:, 1::2], out=power)
        power *= scale
    return out


def with_fftw(pyfftw: ModuleType, x: F32, window: F32, scale: F32, out: F32, block: int) -> Callable[[], F32]:
    """Plan a transform of ``block`` stars in scratch that stays in cache; the chain around it is that of ducc0."""
    windowed = pyfftw.empty_aligned((block, x.shape[1]), np.float32)
    half = pyfftw.empty_aligned((block, out.shape[1]), np.complex64)
    plan = pyfftw.FFTW(windowed, half, axes=(1,), threads=1, flags=("FFTW_MEASURE",))

    def chain() -> F32:
        for start in range(0, len(x), block):
            part, power = x[start : start + block], out[start : start + block]
            np.subtract(part, part.mean(axis=1, keepdims=True), out=windowed[: len(part)])
            np.multiply(windowed, window, out=windowed)
            plan.execute()
            squares = half.view(np.float32)
            np.multiply(squares, squares, out=squares)
            np.add(squares[: len(part), ::2], squares[: len(part), 1::2], out=power)
            power *= scale
        return out

    return chain


def fastest_block(chain: Callable[[int], Any]) -> int:
    """Return the number of stars per block that takes least time."""
    took = {}
    for block in (8, 16, 32, 64, 128):
        rounds = []
        for _ in range(3):
            begin = time.perf_counter()
            chain(block)
            rounds.append(time.perf_counter() - begin)
        took[block] = min(rounds)
    return min(took, key=lambda block: took[block])


def same_power(rival: str, ours: Any, theirs: Any) -> None:
    """Compare to the highest power of each star: float32 transforms err relative to all rows.

    A mean stored as float32 is off by 6e-8 of a flux of 1, which the window spreads over the two lowest rows of the
    rivals: there a sine of 1e-3 may differ by 2e-4 of its power.
    """
    theirs = np.asarray(theirs).T
    worst = np.abs(ours.power - theirs).max(axis=1, initial=0.0) / theirs.max(axis=0).min()
    assert worst[:2].max() < 1e-3, (rival, float(worst[:2].max()))
    assert worst[2:].max() < 2e-5, (rival, float(worst[2:].max()))


# Stars 4,096 apart lie in memory so that a cache keeps few of them: the hardest number there is for us, and one of the
# rows; to the rivals it is all the same.
@pytest.mark.parametrize(("n_time", "n_star"), [(1282, 8192), (3198, 4096), (4096, 4000), (4096, 4096), (11600, 1024)])
def test_power_spectra(compare: Compare, session: harness.Session, n_time: int, n_star: int) -> None:
    x = stars(n_time, n_star)
    by_star = np.ascontiguousarray(x.T)
    window = scipy.signal.get_window("hann", n_time).astype(np.float32)
    scale = scale_of(window, n_time)
    rivals: dict[str, Any] = {
        "SciPy chain": lambda: with_scipy(by_star, window, scale),
        "ducc0 chain in blocks": None,
        "FFTW chain in blocks": None,
        "MKL chain in blocks": None,
    }

    def in_blocks(transform: Callable[[F32, Any], object]) -> Callable[[], F32]:
        out = np.empty((n_star, n_time // 2 + 1), np.float32)
        chain = partial(with_blocks, transform, by_star, window, scale, out)
        return partial(chain, fastest_block(chain))

    if ducc0 := session.optional("ducc0"):
        rivals["ducc0 chain in blocks"] = in_blocks(lambda y, half: ducc0.fft.r2c(y, axes=(1,), out=half, nthreads=1))
    if mkl := mkl_on_one_thread(session):
        rivals["MKL chain in blocks"] = in_blocks(lambda y, half: mkl.rfft(y, axis=1, out=half))
    if pyfftw := session.optional("pyfftw", "FFTW"):
        room = np.empty((n_star, n_time // 2 + 1), np.float32)
        rivals["FFTW chain in blocks"] = with_fftw(pyfftw, by_star, window, scale, room, 16)
    ours = np.empty((n_time // 2 + 1, n_star), np.float32)  # like the rivals'
    row = compare(
        f"mean, Hann window, FFT, power: {n_star} stars of {n_time} cadences",
        lambda: power_spectrum(x, cadence=CADENCE, out=ours),
        rivals,
        check=same_power,
        n_bytes=x.nbytes,
    )
    best = min((row.ratio(rival) for rival in row.rivals), default=float("nan"))
    row.must("2.5x the best rival", best >= 2.5)
    row.aim("4x the best rival", best >= 4.0)


def test_power_spectra_with_gaps(compare: Compare) -> None:
    """Compare with the NumPy line that knows gaps: mean and scale of the points that are there."""
    x = stars(1282, 8192)
    x[np.random.default_rng(0).random(x.shape, np.float32) < 0.01] = np.nan
    by_star = np.ascontiguousarray(x.T)
    window = scipy.signal.get_window("hann", 1282).astype(np.float32)
    unit = scale_of(window, 1282) * window.sum(dtype=np.float64) ** 2

    def chain() -> F32:
        there = np.isfinite(by_star)
        filled = np.where(there, by_star - np.nanmean(by_star, axis=1, keepdims=True), np.float32(0.0))
        spectrum = scipy.fft.rfft(filled * window, axis=1, workers=1)
        total = (there * window).sum(axis=1, keepdims=True)
        power: F32 = (spectrum.real**2 + spectrum.imag**2) * unit.astype(np.float32) / (total * total)
        return power

    compare(
        "the same, 8192 stars of 1282 cadences, 1 % missing",
        lambda: power_spectrum(x, cadence=CADENCE),
        {"NumPy and SciPy chain": chain},
        check=same_power,
        n_bytes=x.nbytes,
    )


def test_spectrograms(compare: Compare) -> None:
    x = stars(1282, 2048)
    by_star = np.ascontiguousarray(x.T)
    window = scipy.signal.get_window("hann", 256).astype(np.float32)
    scale = scale_of(window, 256)
    transform = scipy.signal.ShortTimeFFT(window, hop=128, fs=1.0, fft_mode="onesided", scale_to=None, phase_shift=None)

    def with_scipy_stft() -> F32:
        spectrum = transform.stft_detrend(by_star, "constant", p0=0, p1=9, k_offset=128, axis=-1)
        power: F32 = spectrum.real**2 + spectrum.imag**2
        power *= scale[:, np.newaxis]
        return power

    def same(rival: str, ours: Any, theirs: Any) -> None:
        theirs = np.moveaxis(theirs, (0, 1, 2), (2, 1, 0))
        worst = np.abs(ours.power - theirs).max(axis=(0, 2)) / theirs.max()
        assert worst[:2].max() < 1e-3, (rival, float(worst[:2].max()))  # a float32 mean, as in `same_power`
        assert worst[2:].max() < 2e-5, (rival, float(worst[2:].max()))

    compare(
        "spectrograms of 2048 stars of 1282 cadences, segments of 256, half overlapping",
        lambda: spectrogram(x, cadence=CADENCE, segment=256, overlap=128),
        {"SciPy ShortTimeFFT": with_scipy_stft},
        check=same,
        n_bytes=x.nbytes,
    )


def sector() -> tuple[F32, NDArray[np.bool_]]:
    """Make 1,222 points on 1,282 places of a sector, one gap for all stars."""
    x = stars(N_GRID, N_STAR)
    kept = np.ones(N_GRID, dtype=bool)
    kept[600 : 600 + N_GRID - N_POINT] = False
    x[~kept] = np.nan
    return x, kept


def with_nifty(nifty_ls: ModuleType, x: F32, errors: F32 | None, kept: NDArray[np.bool_]) -> Callable[[], Any]:
    """Prepare what nifty-ls is given, float64 (n_star, n_point); a missing point has an infinite error."""
    t = CADENCE * np.flatnonzero(kept)
    y = np.ascontiguousarray(x[kept].T, dtype=np.float64)
    there = np.isfinite(y)
    dy = None if errors is None else np.ascontiguousarray(errors[kept].T, dtype=np.float64)
    if not there.all():
        dy = np.where(there, 1.0 if dy is None else dy, np.inf)
        y = np.where(there, y, 0.0)
    step = 1.0 / (5 * N_GRID * CADENCE)
    return lambda: nifty_ls.lombscargle(t, y, dy, fmin=step, fmax=3205 * step, Nf=3205, nthreads=1).power


def same_periodogram(rival: str, ours: Any, theirs: Any) -> None:
    """Compare all rows but the last: at Nyquist sine and cosine are one, and nifty-ls divides by zero."""
    assert ours.method == "regular"
    worst = np.abs(ours.power[:-1] - np.asarray(theirs).T[:-1]).max()
    assert worst < 2e-6, (rival, float(worst))


@pytest.mark.parametrize(
    ("missing", "with_errors", "words", "least", "hoped"),
    [
        (0.0, False, "one mask for all", 50.0, 120.0),
        (0.01, False, "1 % more missing per star", 20.0, 50.0),
        (0.01, True, "1 % more missing per star, an error per point", math.nan, 20.0),
    ],
)
def test_lomb_scargle(
    compare: Compare,
    session: harness.Session,
    missing: float,
    with_errors: bool,
    words: str,
    least: float,
    hoped: float,
) -> None:
    rng = np.random.default_rng(7)
    x, kept = sector()
    x[rng.random(x.shape, np.float32) < missing] = np.nan
    errors = rng.uniform(5e-4, 2e-3, x.shape).astype(np.float32) if with_errors else None
    nifty_ls = session.optional("nifty_ls", "nifty-ls")
    row = compare(
        f"Lomb-Scargle, {N_STAR} stars, {N_POINT} points with a gap, 3205 frequencies, {words}",
        lambda: lomb_scargle(x, cadence=CADENCE, flux_err=errors),
        {"nifty-ls float64": with_nifty(nifty_ls, x, errors, kept) if nifty_ls else None},
        check=same_periodogram,
        n_bytes=x.nbytes,
    )
    ratio = row.ratio("nifty-ls float64")
    if math.isfinite(least):
        row.must(f"{least:g}x nifty-ls", ratio >= least)
    row.aim(f"{hoped:g}x nifty-ls", ratio >= hoped)


def test_lomb_scargle_beside_astropy(compare: Compare) -> None:
    """Take 20 stars: astropy's exact method needs 50 ms for each."""
    from astropy.timeseries import LombScargle

    x, kept = sector()
    x = np.ascontiguousarray(x[:, :20])
    t, y = CADENCE * np.flatnonzero(kept), x[kept].astype(np.float64)
    frequency = np.arange(1, 3206) / (5 * N_GRID * CADENCE)

    def with_astropy(method: str) -> NDArray[np.float64]:
        options: dict[str, Any] = {"assume_regular_frequency": True} if method == "fast" else {}
        return np.array([LombScargle(t, star).power(frequency, method=method, **options) for star in y.T])

    def check(rival: str, ours: Any, theirs: Any) -> None:
        if rival.endswith("cython"):
            same_periodogram(rival, ours, theirs)
        else:  # It extrapolates sums to a grid and misses some powers by a tenth.
            assert np.abs(ours.power[:-1] - theirs.T[:-1]).max() < 0.2

    compare(
        f"Lomb-Scargle, 20 stars, {N_POINT} points with a gap, 3205 frequencies",
        lambda: lomb_scargle(x, cadence=CADENCE),
        {
            "astropy cython": partial(with_astropy, "cython"),
            "astropy fast, off by up to 0.1": partial(with_astropy, "fast"),
        },
        check=check,
        n_bytes=x.nbytes,
        rival_budget_s=2.0,
    )
