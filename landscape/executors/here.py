"""Executors on this machine: this process, or a pool of one-thread processes.

On few cores a pool of one-thread processes beats one process with as many threads: small matrices share badly (a
training epoch of 3.2 s on one thread takes 2.8 s on two). Workers are spawned, rebuild the objective from its recipe,
ignore Ctrl-C (their parent stops them) and leave at once when the parent dies, however it dies.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from landscape.errors import InvalidArgument, WorkerDied
from landscape.executors.protocol import Executor, Item, Result, Task
from landscape.progress import silence

IN_FLIGHT = 2  # items a worker holds: one at work, one at hand


class Here:
    """One item after another, in this process."""

    def run(self, task: Task[Item, Result], items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """In the order given."""
        measure = task.open()
        for item in items:
            yield item, measure(item)


class Pool:
    """`workers` processes of one thread each."""

    def __init__(self, workers: int, *, in_flight: int = IN_FLIGHT) -> None:
        """`in_flight` items are sent to each worker ahead; 1 suits items of minutes, which should wait for no other."""
        if workers < 1:
            raise InvalidArgument(f"expected at least 1 worker, got {workers}")
        self.workers = workers
        self.in_flight = in_flight

    def run(self, task: Task[Item, Result], items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """As they become ready. An exception in a worker is raised here, with the worker's traceback as a note.

        Raises:
            WorkerDied: a worker was killed; it names the items that were lost, and the other workers are stopped. In a
                script, start the pool under `if __name__ == "__main__":`.
        """
        content = pickle.dumps(task)  # refuses, before any process starts, what cannot be rebuilt elsewhere
        waiting = deque(enumerate(items))
        workers: dict[Connection, BaseProcess] = {}
        held: dict[Connection, deque[int]] = {}
        try:
            for _ in range(min(self.workers, len(items))):
                connection, process = _start(content)
                workers[connection], held[connection] = process, deque()
                for _ in range(self.in_flight):
                    _send_next(connection, waiting, held)
            while any(held.values()):
                for ready in wait([connection for connection, indices in held.items() if indices]):
                    assert isinstance(ready, Connection)
                    index, result = _receive(ready, workers[ready], tuple(items[k] for k in held[ready]))
                    held[ready].popleft()
                    _send_next(ready, waiting, held)
                    yield items[index], result
        finally:
            _stop(workers)


def make_executor(workers: int | None = None) -> Executor:
    """This process for one worker or none given, else a pool.

    Raises:
        InvalidArgument: fewer than one worker.
    """
    if workers is not None and workers < 1:
        raise InvalidArgument(f"expected at least 1 worker, got {workers}")
    return Here() if workers is None or workers == 1 else Pool(workers)


def _start(content: bytes) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, content), daemon=True)
    with _interrupts_ignored():  # inherited: Ctrl-C while a worker still imports is not its business
        process.start()
    theirs.close()  # so that a dead worker, or a dead parent, is the end of the pipe
    return ours, process


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _send_next(connection: Connection, waiting: "deque[tuple[int, Any]]", held: dict[Connection, deque[int]]) -> None:
    if waiting:
        held[connection].append(waiting[0][0])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its last words are read by `_receive`
            connection.send(waiting.popleft())


def _receive(connection: Connection, process: BaseProcess, held: tuple[Any, ...]) -> tuple[int, Any]:
    try:
        index, error, result = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join(5)
        raise WorkerDied(
            f"expected a result from a worker, got its end with exit code {process.exitcode}: killed, out of memory, "
            'or a script that starts a pool outside of `if __name__ == "__main__":`',
            held,
        ) from None
    if error is not None:
        raise error
    return index, result


def _stop(workers: dict[Connection, BaseProcess]) -> None:
    for connection, process in workers.items():
        connection.close()
        process.terminate()
    for process in workers.values():
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def _work(connection: Connection, content: bytes) -> None:
    """A worker's life: open the task, answer items until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    silence()
    measure = None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            index, item = connection.recv()
            try:
                if measure is None:
                    measure = pickle.loads(content).open()
                answer: tuple[int, Exception | None, Any] = (index, None, measure(item))
            except Exception as error:
                answer = (index, _sendable(error), None)
            connection.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, or its text where it cannot be pickled."""
    told = "".join(traceback.format_exception(error))
    try:
        error.add_note(f"in a worker process:\n{told}")
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"in a worker process:\n{told}")
    return error


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
