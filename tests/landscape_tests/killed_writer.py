"""Processes that write a surface point by point until they are killed, forked from one that has loaded the store.

Run as a program with a store's path: for each line of input it forks one writer, and what happens comes out line by
line: "pid N", then the four points just finished, again and again, then "ended STATUS".
"""

import os
import sys

from landscape_tests import stores

from landscape.grid import Grid, parse_axis
from landscape.records import Status
from landscape.store import Store

GRID = Grid(parse_axis("-1:1:40"), parse_axis("-1:1:40"))


def say(*words):
    """One line in one system call: a kill cuts between lines, never inside one."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def write_surface(path):
    with Store.write(path) as store:
        store.add_checkpoint(stores.checkpoint())
        held = store.add_surface(stores.empty_surface(grid=GRID))
        say("pid", os.getpid())
        missing = [int(index) for index in GRID.coarse_to_fine() if held.status.flat[index] == Status.PENDING]
        for start in range(0, len(missing), 4):
            some = missing[start : start + 4]
            store.write_points("plane", some, stores.values_at(some))
            say(*some)


def serve(path):
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                write_surface(path)
                os._exit(0)
            finally:
                os._exit(1)
        say("ended", os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve(sys.argv[1])
