"""What the launcher runs in a pod: it hands its stdin, stdout and stderr over to the first program
there, and waits for that one's end, so that the stream stays.

Its text is an argument of ``python3 -c``, so it needs no file. Python >= 3.8.
"""

import array
import os
import socket
import sys
import time

SECONDS = 60
"""For the first program to listen."""


def main(meeting: str) -> None:
    until = time.monotonic() + SECONDS
    while True:
        carrier = socket.socket(socket.AF_UNIX)
        try:
            carrier.connect(meeting)
            break
        except OSError as error:
            carrier.close()
            if time.monotonic() > until:
                sys.exit("%s: nobody listens: %s" % (meeting, error.strerror))
            time.sleep(0.02)
    handed = array.array("i", (0, 1, 2)).tobytes()
    carrier.sendmsg([b"1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handed)])
    # A kernel has the same user, and could take them from here.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    carrier.recv(1)


if __name__ == "__main__":
    main(sys.argv[1])
