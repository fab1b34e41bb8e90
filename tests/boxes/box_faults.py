"""The faults of Kaggle in a box: prepared for single calls, or drawn at random in a storm."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """A fault of one call.

    Attributes:
        code: the answer's code; 0 closes the connection without an answer.
        after: whether the call takes effect all the same.
        cut: whether the answer's body breaks off.
        body: the body in place of the right one.
        headers: more headers, such as Retry-After.
        where: decides by the request whether the fault applies to a call.
    """

    code: int = 500
    after: bool = False
    cut: bool = False
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    where: Callable[[dict[str, Any]], bool] = lambda request: True


PAGE = b"<!doctype html><title>Kaggle</title><p>We are down for maintenance."
WEATHER = [
    Fault(503), Fault(500, after=True), Fault(0), Fault(0, after=True), Fault(429, body=b"slow down"),
    Fault(200, cut=True, after=True),
]  # fmt: skip
# Passing faults that look like answers: pages in their place, and refusals that are mistakes.
PASSING = [Fault(200, body=PAGE, after=True), Fault(200, body=b""), Fault(401), Fault(403), Fault(404)]


class Faults:
    """The faults of calls to come: prepared one by one, or drawn at random.

    Attributes:
        happened: the methods of the calls that have failed.
    """

    def __init__(self) -> None:
        self._prepared: dict[str, list[Fault]] = defaultdict(list)
        self._storm: tuple[random.Random, float] | None = None
        self.happened: list[str] = []

    def add(self, method: str, fault: Fault, times: int = 1) -> None:
        """Prepare a fault for calls of a method, or of `PUT` (a file's content) or `GET` (an output file)."""
        self._prepared[method] += [fault] * times

    def storm(self, seed: int, rate: float) -> None:
        """Let every call fail with this chance, in a random way; a rate of 0 ends the storm."""
        self._storm = (random.Random(seed), rate) if rate else None

    @property
    def remaining(self) -> int:
        """The number of prepared faults that have not happened."""
        return sum(map(len, self._prepared.values()))

    def clear(self) -> None:
        """Drop the prepared faults."""
        self._prepared.clear()

    def draw(self, method: str, request: dict[str, Any]) -> Fault | None:
        """Return the fault of a call, or None."""
        fault = next((fault for fault in self._prepared[method] if fault.where(request)), None)
        if fault is not None:
            self._prepared[method].remove(fault)
        elif self._storm is not None and self._storm[0].random() < self._storm[1]:
            fault = self._storm[0].choice(WEATHER if method in ("PUT", "GET") else [*WEATHER, *PASSING])
        if fault is not None:
            self.happened.append(method)
        return fault
