"""Looks side by side, none of which can hold the others up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait
from typing import TypeVar

__all__ = ["side_by_side", "started"]

Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")


def started(look: Callable[[], Result]) -> Future[Result]:
    """The look, in a thread that does not keep this process from ending: a name server may be silent for a minute."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(look())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="look").start()
    return future


def side_by_side(looks: Mapping[Name, Callable[[], Result]], *, within: float) -> dict[Name, Result]:
    """Results of those that ended in time. Raises what one of them raised."""
    futures = {name: started(look) for name, look in looks.items()}
    wait(futures.values(), timeout=within)
    return {name: future.result() for name, future in futures.items() if future.done()}
