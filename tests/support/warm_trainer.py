"""Stands for a trainer that the server of `warm_trainers` forks: the process that a test starts, waits for and sends signals to.

python -S -E warm_trainer.py SOCKET MODULE WORD…
"""

import array
import json
import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.connect(sys.argv[1])
streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
connection.sendmsg([b" "], [streams])
folder = os.getcwd()  # noqa: PTH109 - pathlib takes as long to import as the rest of this
asked = {"launcher": os.getpid(), "folder": folder, "environment": dict(os.environ), "words": sys.argv[2:]}
connection.sendall(json.dumps(asked).encode() + b"\n")
for passed_on in PASSED_ON:
    signal.signal(passed_on, lambda number, _frame: connection.sendall(bytes([number])))
answer = b""
while not answer.endswith(b"\n"):
    more = connection.recv(16)
    if not more:
        sys.exit("the server of trainers is gone")
    answer += more
code = int(answer)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
