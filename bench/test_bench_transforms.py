"""Transforms of a thousand series, one thread each: forward and backward, real and complex, float32 and float64.

Every contender has the layout that suits it best: ours time-major, the libraries one series after the other; ducc0 and
SciPy transform all at once, FFTW and MKL by a plan in memory that they have chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import numpy as np
import pytest
import scipy.fft
from mkl_rival import mkl_on_one_thread

import starskope as sk

Compare = Callable[..., harness.Row]

KINDS = ("rfft", "irfft", "fft", "ifft")
COMPLEX = {"float32": np.complex64, "float64": np.complex128}


def series(kind: str, n: int, n_series: int, dtype: str) -> np.ndarray:
    """Make what goes in, time-major."""
    rng = np.random.default_rng([n, n_series])
    x = rng.standard_normal((n, n_series), dtype)
    if kind == "rfft":
        return x
    if kind == "irfft":
        return np.ascontiguousarray(scipy.fft.rfft(x, axis=0))
    return (x + 1j * rng.standard_normal((n, n_series), dtype)).astype(COMPLEX[dtype])


def with_ducc(ducc0: Any, kind: str, x: np.ndarray, out: np.ndarray) -> Callable[[], Any]:
    """Choose the call; 2 is the norm 1 / n."""
    fft, n = ducc0.fft, out.shape[1]
    if kind == "rfft":
        return lambda: fft.r2c(x, axes=(1,), out=out, nthreads=1)
    if kind == "irfft":
        return lambda: fft.c2r(x, axes=(1,), lastsize=n, forward=False, inorm=2, out=out, nthreads=1)
    forward = kind == "fft"
    return lambda: fft.c2c(x, axes=(1,), forward=forward, inorm=0 if forward else 2, out=out, nthreads=1)


def with_fftw(pyfftw: Any, kind: str, x: np.ndarray, out: np.ndarray) -> Callable[[], Any]:
    """Plan a transform of all series; a backward one of real series destroys its input, which is filled first."""
    given, result = pyfftw.empty_aligned(x.shape, x.dtype), pyfftw.empty_aligned(out.shape, out.dtype)
    backward = kind.startswith("i")
    plan = pyfftw.FFTW(
        given,
        result,
        axes=(1,),
        threads=1,
        direction="FFTW_BACKWARD" if backward else "FFTW_FORWARD",
        flags=("FFTW_MEASURE",),
    )
    given[:] = x

    def call() -> np.ndarray:
        if kind == "irfft":
            given[:] = x
        plan.execute()
        return result if not backward else np.multiply(result, 1 / out.shape[1], out=result)

    return call


def same(rival: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare in the L2 norm, both within a few units of roundoff."""
    theirs = np.asarray(theirs).T
    wrong = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    assert wrong < 10 * np.finfo(ours.dtype).eps, (rival, float(wrong))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "n_series"), [(1282, 2048), (4096, 1000)])
def test_transforms(compare: Compare, session: harness.Session, n: int, n_series: int, kind: str, dtype: str) -> None:
    x = series(kind, n, n_series, dtype)
    by_series = np.ascontiguousarray(x.T)
    transform = getattr(sk, kind)
    length = {"n": n} if kind == "irfft" else {}
    ours = transform(x, **length)
    out = np.empty(ours.shape[::-1], ours.dtype)
    rivals: dict[str, Any] = {
        "SciPy": partial(getattr(scipy.fft, kind), by_series, axis=1, workers=1, **length),
        "ducc0": None,
        "FFTW": None,
        "MKL": None,
    }
    if ducc0 := session.optional("ducc0"):
        rivals["ducc0"] = with_ducc(ducc0, kind, by_series, out)
    if pyfftw := session.optional("pyfftw", "FFTW"):
        rivals["FFTW"] = with_fftw(pyfftw, kind, by_series, out)
    if mkl := mkl_on_one_thread(session):
        rivals["MKL"] = partial(getattr(mkl, kind), by_series, axis=1, **length)
    compare(
        f"{kind}, {dtype}: {n_series} series of {n}",
        lambda: transform(x, out=ours, **length),
        rivals,
        check=same,
        n_bytes=x.nbytes,
        rival_budget_s=1.0,
    )
