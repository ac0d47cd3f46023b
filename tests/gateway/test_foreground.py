"""Work that can wait."""

from __future__ import annotations

import threading
import time

from gateway import foreground


def test_what_can_wait_waits_while_somebody_is_served_and_goes_on_afterwards() -> None:
    stopping, served = threading.Event(), threading.Event()

    def serve() -> None:
        for _ in range(20):
            foreground.busy()
            time.sleep(0.01)
        served.set()

    foreground.busy()
    server = threading.Thread(target=serve)
    server.start()
    foreground.rest(stopping, time.monotonic() + 60)
    assert served.is_set()
    server.join()
    foreground.rest(stopping, time.monotonic() + 60)


def test_it_waits_no_longer_than_it_was_told_and_not_when_all_is_stopping() -> None:
    stopping = threading.Event()
    foreground.busy()
    foreground.rest(stopping, time.monotonic())
    stopping.set()
    foreground.rest(stopping, time.monotonic() + 60)
