"""Which requests of a client a fault strikes, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fault_kinds import Fault
from loopback_http import Request


@dataclass
class Plan:
    """A fault and its turn; made by `FaultServer.plan`.

    A HEAD is never struck: a broken body or length would pass unnoticed there and the fault would be spent.
    """

    fault: Fault
    times: int | None
    listings: bool = False
    after: int = 0
    only: str = ""
    of_each: bool = False
    seen: int = 0
    applied: int = 0
    _applied_to: Counter[str] = field(default_factory=Counter)

    def takes(self, request: Request) -> bool:
        """Whether this request is struck; counts it."""
        if request.method == "HEAD" or self.listings != request.is_listing or self.only not in request.target:
            return False
        struck = self._applied_to[request.target] if self.of_each else self.applied
        if self.times is not None and struck >= self.times:
            return False
        self.seen += 1
        if self.seen <= self.after:
            return False
        self.applied += 1
        self._applied_to[request.target] += 1
        return True
