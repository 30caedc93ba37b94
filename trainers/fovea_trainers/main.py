"""`fovea-train`: runs a recipe.

Usage:
  fovea-train <recipe> [--flag=value …]     train, evaluate, export
  fovea-train <recipe> --help               the recipe's flags
  fovea-train --catalogue                   flags of all recipes as JSON (see fovea_api.catalogue)
  fovea-train make-dataset NAME OUT         write a small made data set; --help lists them
  fovea-train convert-weights FILE OUT --network=NAME
                                            convert published weights for --weights; --help lists the networks
  fovea-train find-eyes FOLDER OUT.csv …    find eyes, by which face-verifier aligns faces; --help

A recipe is one of those below, or your own: ./my_recipe.py or my_package.my_recipe.
"""

import os
import sys
import traceback
from collections.abc import Sequence

from fovea_api.contract import environment, exit_codes
from fovea_api.standard_output import nobody_reads

from fovea_trainers import convert_weights, find_eyes, flags, make_dataset
from fovea_trainers.entry import RECIPES, catalogue, entry
from fovea_trainers.errors import FlagError, PeerLost, TrainerError
from fovea_trainers.runtime.interruption import Interruption

COMMANDS = {"make-dataset": make_dataset.main, "convert-weights": convert_weights.main, "find-eyes": find_eyes.main}
"""What the program does beside running a recipe: (arguments) -> exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit code of `fovea_api.contract.exit_codes`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--catalogue"]:
        sys.stdout.write(catalogue().to_json())
        return exit_codes.OK
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        print("Recipes:\n" + "\n".join(f"  {name:<20}{entry(name).recipe.help}" for name in RECIPES))
        return exit_codes.OK if arguments else FlagError.exit_code
    try:
        if command := COMMANDS.get(arguments[0]):
            return command(arguments[1:])
        return _run(arguments[0], arguments[1:])
    except TrainerError as error:
        print(f"fovea-train: {error}", file=sys.stderr, flush=True)
        if isinstance(error, PeerLost):
            os._exit(error.exit_code)  # TensorFlow's own end would wait for the other process
        return error.exit_code


def _run(name: str, argv: Sequence[str]) -> int:
    # Before TensorFlow is imported: warnings and errors; with GPUs also what it found out about them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if os.environ.get(environment.GPUS) else "1")
    if os.environ.get(environment.TF_CONFIG):
        os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")  # else a lost process is waited for, not reported
    with Interruption(saves=False) as interruption:  # SIGTERM means: exit; once there are steps: checkpoint, then exit
        try:
            chosen = entry(name)
            if "--help" in argv or "-h" in argv:
                print(flags.describe(name, chosen.recipe))
                return exit_codes.OK
            config = flags.parse(name, chosen.recipe, chosen.config_type, argv)
            from fovea_trainers.runtime.session import Session

            session = Session.begin(chosen.name, config, os.environ, interruption)
            chosen.run(config, session)
            session.strategy.finish()
        except TrainerError:
            raise
        except Exception as error:  # none is swallowed: see _failed
            if nobody_reads(error):
                raise
            return _failed(error)
    return exit_codes.OK


def _failed(error: Exception) -> int:
    """Print an error that the recipe did not expect, with its trace and what helps; return the exit code."""
    from fovea_trainers.runtime import failures

    traceback.print_exception(error)
    if (verdict := failures.verdict(error)) is None:
        verdict = failures.DEFECT
    print(f"fovea-train: {failures.describe(error)}; {verdict.remedy}", file=sys.stderr)
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
