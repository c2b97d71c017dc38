import os
import signal

import pytest

from idinit_suite.training.preemption import stop_signals


def test_sigterm_sets_the_event_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_signals() as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.is_set()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_interrupt_stops_at_once() -> None:
    with stop_signals() as asked, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.is_set()
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_within_a_run_stops_the_sweep_around_it(number: int) -> None:
    with stop_signals() as sweep:
        with stop_signals() as run:
            os.kill(os.getpid(), number)
            assert run.is_set()
        assert sweep.is_set(), "a run that ends in an error, or whose variant is refused, does not hand it on"
        with stop_signals() as later:
            assert not later.is_set()
    with stop_signals() as another:
        assert not another.is_set()
