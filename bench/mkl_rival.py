"""MKL's transforms as a rival on one thread."""

from __future__ import annotations

from types import ModuleType

import harness

__all__ = ["mkl_on_one_thread"]


def mkl_on_one_thread(session: harness.Session) -> ModuleType | None:
    """Import ``mkl_fft``, which takes all CPUs otherwise; None, and a note, where it is not installed."""
    mkl_fft = session.optional("mkl_fft", "MKL")
    if mkl_fft is not None:
        import mkl

        mkl.set_num_threads(1)
    return mkl_fft
