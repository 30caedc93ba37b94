"""`fovea-train convert-weights`: weights of PyTorch or TensorFlow.js into a file that --weights takes."""

from collections.abc import Sequence
from pathlib import Path

from fovea_api.contract import exit_codes

from fovea_trainers.command_line import Parser
from fovea_trainers.errors import FlagError, WeightsError

HELP = "Convert published weights of PyTorch or TensorFlow.js into a .weights.h5 file for --weights of a recipe."
SUFFIX = ".weights.h5"
_USAGE = "fovea-train convert-weights FILE OUT --network=NAME"


def main(argv: Sequence[str]) -> int:
    """The command; returns the exit code. Raises FlagError, and WeightsError for a file that is not of the network."""
    from fovea_trainers.conversion.networks import NETWORKS

    if not argv or "-h" in argv or "--help" in argv:
        print(describe())
        return exit_codes.OK if argv else FlagError.exit_code
    parser = Parser(_USAGE)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", choices=list(NETWORKS), required=True)
    given = parser.read(argv)
    if not given.out.name.endswith(SUFFIX):
        raise FlagError(f"{given.out} must end in {SUFFIX}: that is the format that is written")
    write(given.network, given.file, given.out)
    print(f"wrote the weights of {given.network} to {given.out}")
    return exit_codes.OK


def write(network: str, file: Path, out: Path) -> None:
    """Convert, and write `out`, which appears complete. Raises WeightsError."""
    from fovea_trainers.conversion.networks import convert

    staging = out.with_name(f".{out.name.removesuffix(SUFFIX)}-partial{SUFFIX}")
    try:
        model = convert(network, file)
        out.parent.mkdir(parents=True, exist_ok=True)
        model.save_weights(staging)
        staging.replace(out)
    except OSError as error:
        raise WeightsError(f"{file} cannot be converted to {out}: {error}") from error
    finally:
        staging.unlink(missing_ok=True)


def describe() -> str:
    """The text of --help."""
    from fovea_trainers.conversion.networks import NETWORKS

    lines = [_USAGE, "", HELP, "Nothing is downloaded: FILE is on this machine. The networks are:", ""]
    return "\n".join([*lines, *(f"  {name:<20}{network.help}" for name, network in NETWORKS.items())])
