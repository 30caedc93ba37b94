# The version is checked before anything else is imported: the other modules use syntax that an older Python refuses.
# ruff: noqa: UP036, UP031
import sys

if sys.version_info < (3, 11):
    sys.exit(
        "fovea_dev needs Python 3.11 or newer; this is %s. Install python3.11 and run it with that."
        % sys.version.split()[0]
    )

from fovea_dev.main import main

if __name__ == "__main__":
    sys.exit(main())
