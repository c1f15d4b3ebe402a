"""Jobs: the independent pieces of a stage, run one after the other or in parallel processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol

from structkd.errors import StructKDError
from structkd.recipe import Recipe
from structkd.stages.directory import RunDirectory

Report = Callable[[int, int, str], None]
"""Called by a job with how much is done, of how much, and a short note."""


@dataclass(frozen=True)
class Context:
    """What every job of a run needs to know."""

    recipe: Recipe
    run: RunDirectory
    device: str
    backend: str | None = None


class Job(Protocol):
    """A piece of work with a result on disk. It can be pickled, and knows whether its result is up to date."""

    @property
    def title(self) -> str:
        """Short name for progress bars."""

    def is_done(self, context: Context) -> bool:
        """Whether the result is there and was made from the same inputs."""

    def run(self, context: Context, report: Report) -> None:
        """Do it; what was cut off before goes on where it stopped."""


class Display(Protocol):
    """Where progress is shown."""

    def stage(self, name: str, jobs: int, done: int) -> None:
        """A stage begins; `done` of its jobs are up to date."""

    def progress(self, title: str, done: int, total: int, note: str) -> None:
        """A job went on."""

    def finished(self, title: str) -> None:
        """A job ended."""


class Silence:
    """A display that shows nothing."""

    def stage(self, name: str, jobs: int, done: int) -> None: ...

    def progress(self, title: str, done: int, total: int, note: str) -> None: ...

    def finished(self, title: str) -> None: ...


class JobRunner:
    """Runs jobs one after the other or in parallel processes, which live as long as the runner.

    Args:
        workers: processes; 1 runs everything in this one.
        display: where progress is shown.
    """

    def __init__(self, workers: int, display: Display) -> None:
        self.workers = workers
        self.display = display
        self._pool: ProcessPoolExecutor | None = None
        self._messages: Any = None
        self._stop = threading.Event()
        self._before: set[Any] = set()

    def __enter__(self) -> JobRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if error is not None:
            # Workers ignore Ctrl-C; after a failure there is no reason to wait for what they are doing.
            for child in set(multiprocessing.active_children()) - self._before:
                child.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stop.set()
        self._relay.join()

    def run(self, stage: str, jobs: Iterable[Job], context: Context) -> None:
        """Run the jobs of a stage whose results are not up to date.

        Raises:
            StructKDError: of the first job that failed; finished results stay.
        """
        wanted = list(jobs)
        todo = [job for job in wanted if not job.is_done(context)]
        self.display.stage(stage, len(wanted), len(wanted) - len(todo))
        if self.workers <= 1 or (len(todo) <= 1 and self._pool is None):
            for job in todo:
                with _forced(context.backend):
                    job.run(context, partial(self.display.progress, job.title))
                self.display.finished(job.title)
            return
        try:
            with _interrupts_ignored():
                futures = [self._started().submit(_work, job, context) for job in todo]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BrokenProcessPool as error:
            raise StructKDError(
                "a worker process was ended from outside (out of memory?); run again to go on"
            ) from error

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._messages = spawn.Queue()
            self._before = set(multiprocessing.active_children())
            self._relay = threading.Thread(target=_relay, args=(self._messages, self.display, self._stop), daemon=True)
            self._relay.start()
            threads = max(1, (os.cpu_count() or 1) // self.workers)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=spawn, initializer=_start_worker, initargs=(self._messages, threads)
            )
        return self._pool


def _relay(messages: Any, display: Display, stop: threading.Event) -> None:
    """Pass on what the workers report until `stop` is set and nothing is left."""
    while True:
        try:
            title, done, total, note = messages.get(timeout=0.1)
        except queue.Empty:
            if stop.is_set():
                return
            continue
        if done < 0:
            display.finished(title)
        else:
            display.progress(title, done, total, note)


_messages: Any = None
#: Who warns about corpora. The parent has read them too, and has said it once.
_READERS = ("structkd.corpus", "structkd.stages.corpora", "structkd.teacher.annotations")


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started here ignore Ctrl-C from their first instruction on: the parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker(messages: Any, threads: int) -> None:
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    for room in _READERS:
        logging.getLogger(room).setLevel(logging.ERROR)
    import torch
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    torch.set_num_threads(threads)
    set_verbosity_error()
    disable_progress_bar()


def _end_with_parent() -> None:
    """Whoever is killed drops the lock of the run directory: its workers must not go on writing there."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(job: Job, context: Context) -> None:
    with _forced(context.backend):
        job.run(context, lambda done, total, note: _messages.put((job.title, done, total, note)))
    _messages.put((job.title, -1, 0, ""))


def _forced(backend: str | None) -> AbstractContextManager[Any]:
    if backend is None:
        return nullcontext()
    from structkd.kernels import use_backend

    return use_backend(backend)
