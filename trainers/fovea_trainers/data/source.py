"""Where pictures come from, and what tells whether they are the same as before."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fovea_api.contract import listing as input_listing
from fovea_trainers.data.image_folders import Listing
from fovea_trainers.errors import DataError


@dataclass(frozen=True)
class Source:
    """A folder of pictures; `inputs` is the folder of inputs that the agent has filled, if there is one."""

    folder: Path
    inputs: Path

    def fingerprint(self, listing: Listing) -> str:
        """Another value means other data.

        The identity that the agent left, which knows the contents; without one, the names and sizes of the pictures.
        """
        if known := self._of_agent():
            return known
        state = hashlib.sha256()
        for path, size in zip(listing.paths, listing.sizes, strict=True):
            state.update(b"%s\0%d\n" % (path, size))
        return f"sha256:{state.hexdigest()}"

    def _of_agent(self) -> str:
        folder, inputs = self.folder.absolute(), self.inputs.absolute()
        if not folder.is_relative_to(inputs) or folder == inputs:
            return ""
        name, *below = folder.relative_to(inputs).parts
        try:
            identity = input_listing.read(inputs, name)
        except ValueError as error:
            raise DataError(f"{error}; start the job again, so that its inputs are fetched again") from error
        return "/".join([identity.digest, *below]) if identity else ""
