"""Silence for native libraries, and its end."""

import os
import threading

from tfau.core.quiet import quiet_natives


def test_what_natives_write_goes_nowhere_and_then_somewhere_again(capfd):
    with quiet_natives():
        os.write(2, b"noise")
    os.write(2, b"news")
    assert capfd.readouterr().err == "news"


def test_threads_that_overlap_do_not_lose_stderr(capfd):
    second_began, first_ended = threading.Event(), threading.Event()

    def second():
        with quiet_natives():
            second_began.set()
            first_ended.wait(10)
            os.write(2, b"noise")

    thread = threading.Thread(target=second)
    with quiet_natives():
        thread.start()
        assert second_began.wait(10)
    first_ended.set()
    thread.join()
    os.write(2, b"news")
    assert capfd.readouterr().err == "news"
