"""Computing beside the event loop.

Owns the promise that nothing is at work once the caller goes on, cancelled or not. Refuses to make threads: they are
those of `starskope.parallel`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starskope import parallel

__all__ = ["beside"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def beside(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Compute off the event loop; who is cancelled waits for what has begun: nothing is at work after the end."""
    work = parallel.submit(function, *args, **kwargs)
    waiting = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if not work.cancel():
            await asyncio.wait([waiting])
        raise
