"""Progress of trainings: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(highlight=False)
_SHORT = {"validation": "val"}  # a line of progress has 80 columns

_display: Progress | None = None  # of a sweep, while one runs: its runs show their bars in it


class _TimeLeft(TimeRemainingColumn):
    """The time that a task states as left, or else the estimate from its speed."""

    def render(self, task: Task) -> Text:
        if (ends := task.fields.get("ends")) is not None:
            return Text(clock_time(max(0.0, ends - time.monotonic())), style="progress.remaining")
        return super().render(task)


def clock_time(seconds: float) -> str:
    """A time as ``0:02:10``."""
    return str(timedelta(seconds=round(seconds)))


def in_percent(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The accuracies of splits: ``val 38.8 %  test 37.9 %``."""
    known = {split: row["accuracy"] for split, row in rows.items() if row.get("accuracy") is not None}
    return "  ".join(f"{_SHORT.get(split, split)} {100 * accuracy:.1f} %" for split, accuracy in known.items())


def _bars() -> Progress:
    return Progress(  # fits a terminal of 80 columns
        TextColumn("{task.description}"),
        BarColumn(bar_width=8),
        TextColumn("{task.percentage:3.0f} %"),
        _TimeLeft(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[news]}"),
        console=console,
    )


class SweepProgress:
    """Progress of many runs, in seconds of work; on a terminal a bar of its own below those of the runs.

    How long runs take is a prediction until some have ended; from then on it is scaled by how long those took.

    Args:
        label: Name of the sweep.
        bar: Whether there may be one: the runs of other processes show theirs by themselves.
    """

    def __init__(self, label: str, *, bar: bool = True) -> None:
        self._label = label
        self._left = 0.0
        self._finished = [0.0, 0.0]  # seconds that ended runs took, and that they were predicted to take
        self._bars = _bars() if console.is_terminal and bar else None

    @contextmanager
    def shown(self) -> Iterator[SweepProgress]:
        """Shows the bar while the block runs."""
        global _display
        if self._bars is None:
            yield self
            return
        self._task = self._bars.add_task(self._label, total=1.0, news="")
        with self._bars:
            _display = self._bars
            try:
                yield self
            finally:
                _display = None

    def seconds_left(self) -> float:
        """The time that the runs that have not ended will take, from the beginning of the present one."""
        took, predicted = self._finished
        return self._left * (took / predicted if predicted else 1.0)

    def begin(self, what: str, count: str, predicted: float) -> None:
        """Shows the next run, and the time that it and the rest will take.

        Args:
            what: The run.
            count: Which of how many it is.
            predicted: Seconds that all that is missing would take by the prediction, this run included.
        """
        self._left = predicted
        left = self.seconds_left()
        if self._bars is None:
            console.print(f"[{count}] {what}; about {clock_time(left)} left for all", markup=False, soft_wrap=True)
        else:
            self._update(left, f"{count}: {what}")

    def end(self, predicted: float, took: float | None) -> None:
        """Takes a run off what is left.

        Args:
            predicted: Seconds that it was predicted to take.
            took: Seconds that it took here, or None if that says nothing of others: it was not run whole, or elsewhere.
        """
        self._left = max(0.0, self._left - predicted)
        if took is not None:
            self._finished = [self._finished[0] + took, self._finished[1] + predicted]
        if self._bars is not None:
            self._update(self.seconds_left(), "")

    def _update(self, left: float, news: str) -> None:
        assert self._bars is not None
        done = self._finished[0]
        share = done / (done + left) if done + left else 1.0
        self._bars.update(self._task, completed=share, ends=time.monotonic() + left, news=news)


class RunProgress:
    """Progress of one run; a context manager.

    Args:
        label: Name of the run.
        done: Steps finished before this start.
        steps: Steps of the whole run.
        quiet: Show nothing (all ranks but the first).
    """

    def __init__(self, label: str, done: int, steps: int, *, quiet: bool = False) -> None:
        self._label = label
        self._first = done
        self._steps = steps
        self._quiet = quiet
        self._started = time.monotonic()
        self._bar: Progress | None = None
        self._own = _display is None
        if console.is_terminal and not quiet:
            self._bar = _display or _bars()
            self._task = self._bar.add_task(label, total=steps, completed=done, news="")

    def __enter__(self) -> RunProgress:
        if self._bar is not None and self._own:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is None:
            return
        if self._own:
            self._bar.stop()
        else:  # the sweep's bar stays; of the run one line does
            news = self._bar.tasks[self._bar.task_ids.index(self._task)].fields["news"]
            self._bar.remove_task(self._task)
            console.print(f"{self._label}  {news}", markup=False)

    def step(self, step: int) -> None:
        """Moves the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def say(self, step: int, news: str) -> None:
        """Shows the latest measurement, e.g. ``epoch 1.00  val 38.8 %``."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=step, news=news)
            return
        left = self._seconds_left(step)
        eta = "" if left is None else f"  {clock_time(left)} left"
        console.print(f"{self._label}  {step}/{self._steps}  {news}{eta}", soft_wrap=True)

    def _seconds_left(self, step: int) -> float | None:
        if step <= self._first:
            return None
        return (time.monotonic() - self._started) / (step - self._first) * (self._steps - step)
