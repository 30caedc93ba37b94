"""Become a command that ends with its parent, however that ends (Linux).

python -I -S bound_program.py PARENT COMMAND…

A process of its own, not a function between fork and exec: a fork takes no threads along, but what others run at a fork, such as
gRPC's, starts some in the new process. They fail while it closes its descriptors, and the command never begins.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(128 + signal.SIGKILL)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
