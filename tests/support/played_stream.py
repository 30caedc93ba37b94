"""A test in the part of the sidecar: shards of a streamed input arrive from a folder, in the order in which they are wanted."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fovea_api.contract import exit_codes, listing, shards, streams

LONGEST_SECONDS = 180.0


class PlayedStream:
    """The input `data` of a job; what a program wants is copied to it, and what it does not want makes room."""

    def __init__(self, source: Path, inputs: Path, *, room: int = streams.ROOM) -> None:
        self.source, self.inputs, self.folder = source, inputs, inputs / "data"
        self.place = streams.folder(inputs, "data")
        self.place.mkdir(parents=True)
        self.folder.mkdir()
        self.room, self.most, self.arrived = room, 0, list[str]()
        self.beat = 0
        files = sorted(path for path in source.iterdir() if path.is_file())
        self.sizes = {path.name: path.stat().st_size for path in files if shards.is_tfrecord(path.name)}
        identity = listing.Files()
        for path in files:
            identity.add(path.name, path.stat().st_size, str(path.stat().st_size))
            if path.name not in self.sizes:
                shutil.copy(path, self.folder)
        identity.identity().write(inputs, "data")
        streams.write(self.place / streams.SHARDS_FILE, streams.Shards(self.sizes, room).to_json())

    def here(self) -> list[str]:
        return [name for name in self.sizes if (self.folder / name).exists()]

    def wanted(self) -> list[str]:
        try:
            return streams.wanted_from_json((self.place / streams.WANTED_FILE).read_text())
        except FileNotFoundError:
            return []

    def tell(self, **state: str | int) -> None:
        self.beat += 1
        streams.write(self.place / streams.STATE_FILE, streams.State(self.beat, **state).to_json())

    def serve(self) -> None:
        """Let the next shard that is wanted arrive, if there is room for it beside those that are wanted more."""
        wanted = self.wanted()
        for place, name in enumerate(wanted):
            if name in self.here():
                continue
            for old in self.here():
                if old not in wanted[:place] and self.taken() + self.sizes[name] > self.room:
                    (self.folder / old).unlink()
            if self.taken() + self.sizes[name] <= self.room:
                shutil.copy(self.source / name, self.place / "arriving")
                (self.place / "arriving").rename(self.folder / name)
                self.arrived.append(name)
                self.most = max(self.most, self.taken())
            return

    def taken(self) -> int:
        return sum(self.sizes[name] for name in self.here())

    @contextmanager
    def serving(self, until: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Beat all the time, and serve three shards, and then more of them while the condition holds.

        A shard that does not come for too long will not come: a program in this process that waits for it holds up pytest's own
        limit, since TensorFlow does not return to the interpreter.
        """
        ended = threading.Event()

        def run() -> None:
            count, since = 0, time.monotonic()
            while not ended.wait(0.005):
                if len(self.arrived) < 3 or until():
                    self.serve()
                if len(self.arrived) > count:
                    count, since = len(self.arrived), time.monotonic()
                if time.monotonic() - since > LONGEST_SECONDS:
                    self.tell(
                        failed=f"no shard was to arrive for {LONGEST_SECONDS} s", exit_code=exit_codes.DATA_CORRUPT
                    )
                    return
                self.tell()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
