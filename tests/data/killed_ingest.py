"""A process of the tests: does one thing to a lake in small batches, and kills itself at a moment that was chosen.

python killed_ingest.py LAKE ACTION STEP N [LOG ...]: SIGKILL at the N-th time STEP is reached (step "any": whatever is
reached); N = 0 is never, and then what was reached is printed, a step a line. N < 0: the disk is full at that moment,
and only then.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import pgtrace
from pgtrace.errors import LakeError
from pgtrace.ingest import chunks, run
from pgtrace.lake import batch, upkeep

CHUNK_BYTES, BATCH_BYTES = 24_000, 60_000


def main(lake: str, action: str, step: str, number: str, *logs: str) -> None:
    left = abs(int(number))

    def reached(name: str) -> None:
        nonlocal left
        if number == "0":
            sys.stdout.write(f"{name}\n")
        elif step in (name, "any"):
            left -= 1
            if left == 0 and int(number) < 0:
                raise LakeError("No space left on device")
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    for module in (batch, upkeep):
        vars(module)["reached"] = reached
    vars(batch)["_BUFFER_BYTES"] = 1  # every chunk is written as it comes
    vars(run).update(chunks=partial(chunks.chunks, size=CHUNK_BYTES), BATCH_BYTES=BATCH_BYTES)
    opened = pgtrace.open(lake)
    if action == "ingest":
        opened.ingest(list(logs))
    elif action == "compact":
        opened.compact()
    else:
        opened.prune(action)


if __name__ == "__main__":
    main(*sys.argv[1:])
