"""Steps a second of image-classifier in one process and in several, beside the bare strategy of TensorFlow, in turns.

    python benchmarks/distributed_speed.py [--rounds 3] [--only one,mirrored,servers]

Both sides train the same network on the same pictures, decoded anew in each epoch, with the same batches, and write no
checkpoint but the last. The rate is that of the epochs beyond the first few: two runs of different length are subtracted
from each other, so starts, traces and exports do not count. All processes share this machine.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fovea.sdk.local_training import LocalTraining
from fovea_api.contract import environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dev"))
import digits

BATCH, FEW, MANY = 32, 2, 12
FLAGS = (
    *("--image-size=32", "--no-augment", "--no-early-stopping", "--validation-ratio=0", "--test-ratio=0"),
    *("--no-cache-images", "--checkpoint-every-steps=1000000"),
    *("--optimizer=adam", "--learning-rate=0.002", "--decay=0"),
)
WAYS = {"one": {"chief": 1}, "mirrored": {"chief": 1, "worker": 1}, "servers": {"chief": 1, "worker": 2, "ps": 1}}


def ran(command: Sequence[str], roles: Mapping[str, int], variables: Mapping[str, str]) -> list[str]:
    """Lines that a training printed; ends this program when it fails."""
    lines: list[str] = []
    training = LocalTraining(list(command), roles, variables=variables, write=lines.append)
    if code := training.wait():
        sys.exit("\n".join([*lines, f"{command} has ended with exit code {code}"]))
    return lines


def ours(folder: Path, data: Path, way: str, epochs: int) -> tuple[float, int]:
    """Seconds of training and steps."""
    names = ("CHECKPOINT_DIR", "MODEL_DIR", "OUTPUT_DIR", "LOG_DIR", "CACHE_DIR", "PROGRESS_FILE")
    places = {f"FOVEA_{name}": str(folder / name.lower()) for name in names}
    flags = (f"--data={data}", f"--epochs={epochs}", f"--batch-size={BATCH}", *FLAGS)
    ran([sys.executable, "-m", "fovea_trainers", "image-classifier", *flags], WAYS[way], places)
    document = json.loads((folder / "output_dir" / environment.EVALUATION_FILE).read_text(encoding="utf-8"))
    return document["seconds"], document["steps"]


def bare(data: Path, way: str, epochs: int) -> float:
    """Seconds of training."""
    program = str(Path(__file__).with_name("bare_strategy.py"))
    flags = (f"--data={data}", f"--epochs={epochs}", f"--batch-size={BATCH}")
    lines = ran([sys.executable, program, *flags], WAYS[way], {})
    said = [line.rpartition("|")[2].strip() for line in lines if line.startswith("chief")]
    return float(said[-1])


def main() -> None:
    """Print a row for each pair."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(WAYS), help="ways: " + ", ".join(WAYS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        digits.write(root / "digits")
        data = root / "digits/train"
        print("| way | round | steps/s, Fovea | steps/s, bare | ratio |\n|---|---|---|---|---|")
        for way in options.only.split(","):
            for number in range(1, options.rounds + 1):
                few, before = ours(root / f"{way}-{number}-few", data, way, FEW)
                many, after = ours(root / f"{way}-{number}-many", data, way, MANY)
                theirs = bare(data, way, MANY) - bare(data, way, FEW)
                steps = after - before
                rates = steps / (many - few), steps / theirs
                print(f"| {way} | {number} | {rates[0]:.1f} | {rates[1]:.1f} | {rates[0] / rates[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
