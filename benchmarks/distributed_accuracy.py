"""What image-classifier learns of scikit-learn's digits in one process and in two workers: test accuracy, steps, seconds.

    python benchmarks/distributed_accuracy.py [--seeds 1,2] [--epochs 12] [--only one,async]

The flags are the same for all ways, and the pictures of training, validation and test too: the seed divides them. All
processes share this machine, so seconds say what a way costs, not what several machines would gain.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from fovea.sdk.local_training import LocalTraining
from fovea_api.contract import environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dev"))
import digits

FLAGS = (
    *("--image-size=32", "--no-augment", "--no-early-stopping", "--validation-ratio=0.1", "--test-ratio=0.2"),
    *("--batch-size=32", "--optimizer=adam", "--learning-rate=0.002", "--decay=0"),
)
SERVERS = {"chief": 1, "worker": 2, "ps": 1}
WAYS: dict[str, tuple[str, dict[str, int], dict[str, str]]] = {
    "one": ("one process", {"chief": 1}, {}),
    "async": ("ParameterServer, 2 workers", SERVERS, {}),
    "sync": ("ParameterServer, synchronous, 2 workers", SERVERS, {environment.SYNC: "1"}),
    "mirrored": ("MultiWorkerMirrored, 2 workers", {"chief": 1, "worker": 1}, {}),
}


def train(folder: Path, data: Path, way: str, seed: int, epochs: int) -> tuple[float, int, float, float]:
    """Test accuracy, steps, seconds of training, and seconds from start to end of all processes."""
    _, roles, more = WAYS[way]
    names = ("CHECKPOINT_DIR", "MODEL_DIR", "OUTPUT_DIR", "LOG_DIR", "CACHE_DIR", "PROGRESS_FILE")
    places = {f"FOVEA_{name}": str(folder / name.lower()) for name in names}
    flags = (f"--data={data}", f"--seed={seed}", f"--epochs={epochs}", *FLAGS)
    lines: list[str] = []
    began = time.monotonic()
    command = [sys.executable, "-m", "fovea_trainers", "image-classifier", *flags]
    training = LocalTraining(command, roles, variables={**places, **more}, write=lines.append)
    if code := training.wait():
        sys.exit("\n".join([*lines, f"{way} has ended with exit code {code}"]))
    seconds = time.monotonic() - began
    document = json.loads((folder / "output_dir" / environment.EVALUATION_FILE).read_text(encoding="utf-8"))
    return document["sets"]["test"]["accuracy"], document["steps"], document["seconds"], seconds


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--only", default=",".join(WAYS), help="ways: " + ", ".join(WAYS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        digits.write(root / "digits")
        print("| way | seed | test accuracy | steps | training s | all s |\n|---|---|---|---|---|---|")
        for seed in map(int, options.seeds.split(",")):
            for way in options.only.split(","):
                found = train(root / f"{way}-{seed}", root / "digits/train", way, seed, options.epochs)
                accuracy, steps, trained, seconds = found
                print(
                    f"| {WAYS[way][0]} | {seed} | {accuracy:.1%} | {steps} | {trained:.0f} | {seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
