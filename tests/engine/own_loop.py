"""asyncio's own loop with a virtual clock, to compare the durable one with.

`run` is to asyncio what ``engine.run(until=task)``, then ``engine.run()`` with a `VirtualClock` is to pstore: everything
but the time is asyncio's.
"""

from __future__ import annotations

import asyncio
import contextvars


class OwnLoop(asyncio.SelectorEventLoop):
    """Where a selector would sleep, the clock jumps to the next deadline; when nothing is left, the loop stops."""

    def __init__(self, start):
        super().__init__()
        self.moment = start
        self.in_threads = 0
        self.ending = False
        self._select, self._selector.select = self._selector.select, self.select

    def time(self):
        return self.moment

    def run_in_executor(self, executor, func, *args):
        self.in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self.back_from_thread)
        return future

    def back_from_thread(self, future):
        self.in_threads -= 1

    def select(self, timeout):
        if self.in_threads:  # as a virtual clock waits for steps
            return self._select(None if timeout is None or timeout > 0 else 0)
        if self.ending:
            return self._select(timeout)
        if timeout is None:
            self.stop()
        elif timeout > 0:
            self.moment = max(self.moment, self._scheduled[0].when())
        return self._select(0)


def run(main, start, name):
    """Run ``main(out)`` to the end, and what it left behind: gives (out, result, names of waiting tasks, time)."""
    loop = OwnLoop(start)
    try:
        asyncio.set_event_loop(loop)
        out = []
        task = loop.create_task(main(out), name=name, context=contextvars.Context())
        task.add_done_callback(lambda _: loop.stop())
        loop.run_forever()
        if not task.done():
            raise RuntimeError(f"{name} waits for what never comes, at {task.get_stack()[-1]}")
        result = task.result()
        loop.run_forever()
        return out, result, sorted(task.get_name() for task in asyncio.all_tasks(loop)), loop.time()
    finally:
        loop.ending = True
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()
