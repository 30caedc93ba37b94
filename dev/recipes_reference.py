"""Print docs/reference/recipes.md: the flags of every recipe, from the catalogue that jobs are checked against."""

import json

from fovea_api import catalogue

INTRODUCTION = """# Recipes and their flags

Generated from the flag catalogue by `python dev/recipes_reference.py`; do not edit.

A flag goes into `spec.args` of a TrainingJob without its dashes (`learning-rate: 0.01`), or after `--` of `fovea jobs submit`. The operator
refuses a flag that is not here, and a value of another type, before any pod is made. In the image: `fovea-train <recipe> --help`.
"""


def _cell(value: object) -> str:
    return "" if value is None else f"`{json.dumps(value)}`"


def _limits(flag: catalogue.Flag) -> str:
    if flag.choices:
        return " or ".join(f"`{choice}`" for choice in flag.choices)
    low = "" if flag.minimum is None else f"≥ {flag.minimum:g}"
    high = "" if flag.maximum is None else f"≤ {flag.maximum:g}"
    return ", ".join(bound for bound in (low, high) if bound)


def main() -> None:
    """Print the page."""
    print(INTRODUCTION)
    for name, recipe in sorted(catalogue.load().recipes.items()):
        print(f"## {name}\n\n{recipe.help}\n\n| flag | type | default | values | |\n|---|---|---|---|---|")
        for flag, entry in recipe.flags.items():
            print(f"| `{flag}` | {entry.type} | {_cell(entry.default)} | {_limits(entry)} | {entry.help} |")


if __name__ == "__main__":
    main()
