"""The exceptions of starskope.

A caller's mistake is a plain ``ValueError`` or ``TypeError``. What the world did wrong has a class here, so that a
batch run can tell a damaged file from a broken connection. This module refuses to hold messages or recovery logic.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FrameError", "StarskopeError", "TransferError"]


class StarskopeError(Exception):
    """Base of every error that starskope raises on its own account."""


class FrameError(StarskopeError, ValueError):
    """Damaged or foreign data: the message names the file, what was expected and what to do."""


class TransferError(StarskopeError):
    """Objects could not be listed, read or written over the network.

    Parameters
    ----------
    message : str
        One line for the user.
    causes : mapping of str to str, optional
        For each key or URI that failed, why. Never holds credentials.
    """

    def __init__(self, message: str, causes: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.causes: dict[str, str] = dict(causes or {})
