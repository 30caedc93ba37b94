"""Print docs/reference/trainer-commands.md: what `fovea-train` does beside running recipes, as its --help says it."""

import contextlib
import io

from fovea_trainers.main import COMMANDS

INTRODUCTION = """# Commands of fovea-train

Generated from the commands' --help by `python dev/trainer_commands_reference.py`; do not edit. [Recipes](recipes.md) have pages of their own.
"""


def main() -> None:
    """Print the page."""
    print(INTRODUCTION, end="")
    for name, command in COMMANDS.items():
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            command(["--help"])
        print(f"\n## {name}\n```\n{shown.getvalue().rstrip()}\n```")


if __name__ == "__main__":
    main()
