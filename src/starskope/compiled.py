"""Functions that Numba compiles at their first call.

Owns how: without the interpreter's lock, and kept on the disk for the processes to come where there is a folder for it
(beside the source, in the user's cache or in ``NUMBA_CACHE_DIR``). Refuses to know what they compute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(**options: str) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a function that Numba shall compile.

    Parameters
    ----------
    **options
        Of ``numba.njit``, such as ``error_model="numpy"``.

    Notes
    -----
    Numba refuses a function that it cannot keep, as where neither package nor home may be written to. Here it is
    compiled anew in each process.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return njit(nogil=True, **options)(function)

    return decorate
