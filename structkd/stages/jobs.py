"""Jobs: the independent pieces of a stage, run one after the other or in parallel processes."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
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


def run_jobs(stage: str, jobs: Iterable[Job], context: Context, *, workers: int, display: Display) -> None:
    """Run the jobs whose results are not up to date.

    Args:
        workers: processes; 1 runs everything in this one.

    Raises:
        StructKDError: of the first job that failed; the other processes are ended, finished results stay.
    """
    wanted = list(jobs)
    todo = [job for job in wanted if not job.is_done(context)]
    display.stage(stage, len(wanted), len(wanted) - len(todo))
    if workers <= 1 or len(todo) <= 1:
        for job in todo:
            with _forced(context.backend):
                job.run(context, partial(display.progress, job.title))
            display.finished(job.title)
        return
    _run_in_processes(todo, context, min(workers, len(todo)), display)


def _run_in_processes(jobs: list[Job], context: Context, workers: int, display: Display) -> None:
    spawn = multiprocessing.get_context("spawn")
    messages: Any = spawn.Queue()
    threads = max(1, (os.cpu_count() or 1) // workers)
    stop = threading.Event()
    relay = threading.Thread(target=_relay, args=(messages, display, stop), daemon=True)
    relay.start()
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker, initargs=(messages, threads))
    try:
        futures = [pool.submit(_work, job, context) for job in jobs]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    except BrokenProcessPool as error:
        raise StructKDError("a worker process was ended from outside (out of memory?); run again to go on") from error
    finally:
        # A worker ignores Ctrl-C; after a failure there is no reason to wait for what it is doing.
        if any(not future.done() for future in futures):
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        stop.set()
        relay.join()


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


def _start_worker(messages: Any, threads: int) -> None:
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _work(job: Job, context: Context) -> None:
    with _forced(context.backend):
        job.run(context, lambda done, total, note: _messages.put((job.title, done, total, note)))
    _messages.put((job.title, -1, 0, ""))


def _forced(backend: str | None) -> AbstractContextManager[Any]:
    if backend is None:
        return nullcontext()
    from structkd.kernels import use_backend

    return use_backend(backend)
