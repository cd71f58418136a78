"""A job that is its own witness: what it must have for itself it also locks here, apart from everything it tests.

Its standard input becomes one file with a byte for each KEY and group. The kernel's lock on a byte belongs to the
open file, so whatever the job starts holds it too, and it is closed before the locks that are under test: a
process that dies closes its descriptors in ascending order.

job.py FOLDER GROUPS SECONDS [MANNER]: GROUPS with commas; MANNER `fails` sometimes, `deaf` says that it was told TERM
and goes on, `family` leaves a child behind that has closed all it inherited but its standard input, `once` takes its
SECONDS at the first attempt only.
"""

import fcntl
import os
import signal
import struct
import sys
import time
import zlib

folder, groups, seconds = sys.argv[1], [group for group in sys.argv[2].split(",") if group], float(sys.argv[3])
manner = sys.argv[4] if len(sys.argv) > 4 else ""
run = os.environ["VCS_RUN_ID"]
key = run.rpartition(".")[0]


def say(*words: object) -> None:
    line = " ".join(str(word) or "-" for word in (*words, time.monotonic_ns()))
    file = os.open(f"{folder}/events", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode() + b"\n")
    os.close(file)


def taken(name: str) -> bool:
    """Locks the byte of that name; whether another has it."""
    byte = zlib.crc32(name.encode())
    try:
        fcntl.fcntl(0, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    except OSError:
        return True
    return False


if manner == "deaf":
    signal.signal(signal.SIGTERM, lambda *_: say("told", run))
witness = os.open(f"{folder}/witness", os.O_RDWR | os.O_CREAT, 0o644)
os.dup2(witness, 0)
os.close(witness)
overlaps = [name for name in (f"KEY {key}", *(f"group {group}" for group in groups)) if taken(name)]
numbers = {one: os.environ.get(f"VCS_FENCE_{one.upper().replace('-', '_')}") for one in groups}
fences = [f"{one}={number}" for one, number in numbers.items() if number]
say(
    *("begin", run, os.environ["VCS_NODE"], ",".join(groups), os.environ["VCS_SLOT"], os.environ["VCS_ATTEMPT"]),
    *(",".join(fences), os.getpid(), os.getppid(), ",".join(overlaps).replace(" ", "_")),
)
if manner == "family" and os.fork() == 0:
    os.setsid()
    os.closerange(3, 1024)
    time.sleep(300)
if manner == "once" and os.environ["VCS_ATTEMPT"] != "1":
    seconds = 0.0
give_up = time.monotonic() + seconds
while (left := give_up - time.monotonic()) > 0:
    time.sleep(left)
say("end", run)
os._exit(3 if manner == "fails" and zlib.crc32(run.encode()) % 3 == 0 else 0)
