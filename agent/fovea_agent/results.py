"""The folders in which a program leaves its results: how each is published, and what is said of what is in them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from fovea_api.contract import environment, saved_model, storage
from fovea_api.contract.report import Published

from fovea_agent import log
from fovea_agent.errors import Vanished
from fovea_agent.evaluation import LARGEST, Measured, metrics_of, too_large
from fovea_agent.folder import Folder
from fovea_agent.left_out import LeftOut
from fovea_agent.listing import Listing
from fovea_agent.publish import Publication, at, publish, unreadable
from fovea_agent.sending import Sending
from fovea_agent.settings import WorkVolume

TRIES = 3


@dataclass
class Results:
    """The results of one attempt."""

    job: str
    """The job's prefix in the store."""
    attempt: int
    work: WorkVolume
    sending: Sending
    left_out: LeftOut

    def publications(self) -> dict[str, Publication]:
        """What each folder is published as, by the environment variables that name them."""
        prefixes = {
            environment.MODEL_DIR: storage.model(self.job, self.attempt),
            environment.OUTPUT_DIR: storage.output(self.job, self.attempt),
            environment.LOG_DIR: storage.tensorboard(self.job, self.attempt),
        }
        model = environment.MODEL_DIR
        return {name: Publication(at, "files", self.attempt, whole=name == model) for name, at in prefixes.items()}

    def publish(
        self, name: str, problems: list[str], *, finished: bool = False, empty: bool = False
    ) -> Published | None:
        """Publish one of the program's folders, if it holds anything or may be `empty`.

        What the agent may not read is left out, of a model the whole of it, and is added to `problems`.
        """
        if not os.path.lexists(self.work.directory(name)):  # the program removed it: it leaves nothing
            self.work.directory(name).mkdir(parents=True)
        folder = Folder(self.work.root, self.work.relative(name))
        listing = folder.listing()
        publication = self.publications()[name]
        named = self.say_what_is_left_out(folder, listing)
        if listing.unreadable:
            problems.append(unreadable(named, listing))
            if publication.whole:
                return None
        if not empty and not listing.files:
            return None
        del listing  # it may be one of a million files, and `publish` makes its own
        # A result from which something is missing is not the finished one that a later attempt may rely on.
        return self._publish_settled(folder, replace(publication, complete=finished and not problems))

    def say_what_is_left_out(self, folder: Folder, listing: Listing) -> Folder:
        """Name it; returns the folder as the program knows it."""
        named = Folder(Path(environment.WORK_MOUNT), folder.relative)
        for aside in (listing.odd, listing.unreadable):
            for kind, count, first in aside.kinds():
                self.left_out.put_some(str(named), kind, {at(named, path): why for path, why in first.items()}, count)
        return named

    def model_problem(self) -> str:
        """Why the model is no SavedModel, without a full stop; empty when it is one."""
        folder = Folder(self.work.root, self.work.relative(environment.MODEL_DIR))
        return saved_model.problem(folder.files(), f"${environment.MODEL_DIR}")

    def measured(self) -> Measured:
        """The metrics that the output holds."""
        folder = Folder(self.work.root, self.work.relative(environment.OUTPUT_DIR))
        holder = folder.files().get(environment.EVALUATION_FILE)
        if holder is None:
            return Measured()
        with folder.open(holder) as file:
            return Measured() if too_large(os.fstat(file.fileno()).st_size) else metrics_of(file.read(LARGEST))

    def _publish_settled(self, folder: Folder, publication: Publication) -> Published:
        """Publish a folder that is complete. A late process of the trainer may still write to it, for a moment."""
        for _ in range(TRIES - 1):
            try:
                return publish(self.sending, folder, publication)
            except Vanished as error:
                log.warning("a file changed while it was published: trying again", error=error.message)
        return publish(self.sending, folder, publication)
