"""What a person sees while a run trains: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(highlight=False)


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
        if console.is_terminal and not quiet:
            self._bar = Progress(  # fits a terminal of 80 columns
                TextColumn("{task.description}"),
                BarColumn(bar_width=8),
                TextColumn("{task.percentage:3.0f} %"),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                TextColumn("{task.fields[news]}"),
                console=console,
            )
            self._task = self._bar.add_task(label, total=steps, completed=done, news="")

    def __enter__(self) -> RunProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

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
        eta = "" if left is None else f"  {timedelta(seconds=round(left))} left"
        console.print(f"{self._label}  {step}/{self._steps}  {news}{eta}", soft_wrap=True)

    def _seconds_left(self, step: int) -> float | None:
        if step <= self._first:
            return None
        return (time.monotonic() - self._started) / (step - self._first) * (self._steps - step)
