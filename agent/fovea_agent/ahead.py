"""Sends what a program leaves before it has ended, so that less is left to do in the pod's grace period.

From `_SUCCESS` on: model, output and logs. From `saved_model.pb` on: the model, once, since a program may write a better
one. Nothing is published by this: that reads everything again that has changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from fovea_api.contract import environment

from fovea_agent import log
from fovea_agent.errors import Vanished, VolumeProblem
from fovea_agent.folder import Folder, is_file
from fovea_agent.publish import Publication, send_ahead
from fovea_agent.sending import Sending
from fovea_agent.settings import WorkVolume

SAVED_MODEL = "saved_model.pb"
RESULTS = (environment.MODEL_DIR, environment.OUTPUT_DIR)


@dataclass
class Ahead:
    """The results of one attempt on their way before its program has ended.

    `finished`: whether the program left its `_SUCCESS`. `pause` raises Postponed when something else comes before the
    folder that it is given.
    """

    work: WorkVolume
    sending: Sending
    results: Mapping[str, Publication]
    finished: Callable[[], bool]
    pause: Callable[[str], None]
    through: bool = False
    """Whether a finished program's model and output were sent as they are."""
    _seen: dict[str, bytes] = field(default_factory=dict)
    """Marks of the folders as they were."""
    _sent: dict[str, bytes] = field(default_factory=dict)

    def send(self) -> None:
        """Send what has not changed since the last look and was not sent as it is. Raises Postponed."""
        finished = self.finished()
        settled = [self._send(name) for name in RESULTS if self._is_wanted(name, finished)]
        self.through = finished and all(settled)
        if finished:
            self._send(environment.LOG_DIR)

    def _is_wanted(self, name: str, finished: bool) -> bool:
        if finished:
            return True
        early = name == environment.MODEL_DIR and name not in self._sent
        return early and is_file(self.work.directory(name) / SAVED_MODEL)

    def _send(self, name: str) -> bool:
        """Whether the folder is in the store as it is."""
        folder = Folder(self.work.root, self.work.relative(name))
        try:
            mark = folder.listing().stats.mark()
            if self._sent.get(name) == mark:
                return True
            if self._seen.get(name) != mark:
                self._seen[name] = mark
                return False
            pause = partial(self.pause, name)
            pause()
            send_ahead(replace(self.sending, pause=pause), folder, self.results[name])
        except Vanished as error:
            log.info("not sent ahead: it is still written to", folder=name, error=error.message)
            return False
        except VolumeProblem as error:
            log.warning("not sent ahead", folder=name, error=error.message)
            return True
        self._sent[name] = mark
        return True
