"""What the command `fovea-train` starts: the trainer behind its parent process."""

import sys

from fovea_api.standard_output import until_nobody_reads


def main() -> int:
    """Fork, and run the command line in the child."""
    from fovea_trainers import parent

    parent.stand_between()  # before anything large is imported
    from fovea_trainers import main as program

    return until_nobody_reads(program.main)


if __name__ == "__main__":
    sys.exit(main())
