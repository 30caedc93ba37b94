"""Where training data comes from, and how it is known to be the same as before."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fovea_api.contract import listing

from fovea_trainers.errors import DataError


@dataclass(frozen=True)
class Source:
    """A folder or file of data; `inputs` is the folder of inputs that the agent has filled, if there is one."""

    path: Path
    inputs: Path

    def fingerprint(self, files: Iterable[tuple[bytes, int]]) -> str:
        """Another value means other data.

        The identity that the agent left, which knows the contents; without one, the names and sizes of `files`.
        """
        if known := self._of_agent():
            return known
        state = hashlib.sha256()
        for name, size in files:
            state.update(b"%s\0%d\n" % (name, size))
        return f"sha256:{state.hexdigest()}"

    def _of_agent(self) -> str:
        path, inputs = self.path.absolute(), self.inputs.absolute()
        if not path.is_relative_to(inputs) or path == inputs:
            return ""
        name, *below = path.relative_to(inputs).parts
        try:
            identity = listing.read(inputs, name)
        except ValueError as error:
            raise DataError(f"{error}; start the job again, so that its inputs are fetched again") from error
        return "/".join([identity.digest, *below]) if identity else ""
