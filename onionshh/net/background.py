"""A nursery for tasks that run behind a block of a caller's code.

An exception of the block comes out as it was raised, not wrapped in a group. So a program that uses
`async with onionshh.join(...)` never sees the nursery behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """Tasks of this nursery end when the block ends."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except trio.Cancelled:
            raise
        except BaseException as error:
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
