"""Reading the next frames while the network works on these."""

import threading
from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

from co3d.video.frame_queue import FrameQueue

T = TypeVar("T")


def read_ahead(items: Generator[T, None, None], count: int) -> Generator[T, None, None]:
    """The same items in the same order, made by a thread.

    What making them raises is raised where the item would have come. When the consumer ends early,
    `items` is closed.

    Args:
        items: none of them None.
        count: that wait at most.
    """
    queue = FrameQueue[T](count, drop_oldest=False)

    def work() -> None:
        failure: Exception | None = None
        try:
            with closing(items):
                for item in items:
                    if not queue.put(item):
                        break
        except Exception as error:  # noqa: BLE001 (raised again by the consumer)
            failure = error
        queue.finish(failure)

    thread = threading.Thread(target=work, name="co3d reads ahead", daemon=True)
    thread.start()
    try:
        yield from queue.take_all()
    finally:
        queue.close()
        thread.join()
