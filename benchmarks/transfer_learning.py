"""A head on a published network beside a network from scratch, on crops of photographs: accuracy, time, features in the cache.

    python benchmarks/transfer_learning.py [--per-class 100] [--epochs 30]

Trains each recipe in a process of its own, on `dev/photographs.py` and EfficientNet-Lite0's weights (`dev/published.py`):
transfer-classifier with an empty cache, once more with another head, and image-classifier for `--epochs`, which takes longer.
Then the rates of the scratch network: pictures that are read and distorted a second, trained a second, and what the step alone
would train on a batch that is there already; the three take turns.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dev"))
import photographs
import published

LITE = ("--backbone=efficientnet-lite0", "--image-size=160", "--pooling=average")
SCRATCH = ("--image-size=96", "--optimizer=adam", "--learning-rate=0.001", "--decay=0")


def train(folder: Path, *command: str) -> tuple[float, float]:
    """Test accuracy, and seconds from start to end."""
    folder.mkdir(exist_ok=True)
    began = time.monotonic()
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        done = subprocess.run([sys.executable, "-m", "fovea_trainers", *command], cwd=folder, stderr=log, check=False)
    if done.returncode:
        sys.exit((folder / "log.txt").read_text(encoding="utf-8"))
    document = json.loads((folder / "fovea-out/output/evaluation.json").read_text(encoding="utf-8"))
    return document["sets"]["test"]["accuracy"], time.monotonic() - began


def rates(data: Path, rounds: int = 3, steps: int = 40) -> dict[str, float]:
    """Pictures a second: the pipeline alone, the step alone, and both as the loop runs them. The best of some rounds."""
    import tensorflow as tf
    from fovea_trainers.recipes import image_classifier
    from fovea_trainers.runtime import optimizers
    from fovea_trainers.runtime.interruption import Interruption
    from fovea_trainers.runtime.session import Session
    from fovea_trainers.runtime.strategy import Shard
    from fovea_trainers.runtime.totals import Totals
    from fovea_trainers.vision import augmentation, classification, sets

    config = image_classifier.Config(data=str(data), image_size=150)
    with tempfile.TemporaryDirectory() as scratch, Interruption(saves=False) as interruption:
        names = ("CHECKPOINT_DIR", "MODEL_DIR", "OUTPUT_DIR", "LOG_DIR", "CACHE_DIR", "PROGRESS_FILE")
        variables = {f"FOVEA_{name}": str(Path(scratch) / name.lower()) for name in names}
        session = Session.begin("image-classifier", config, variables, interruption)
        pictures = sets.read(config, config.seed, session)
    model, _ = image_classifier.network(config, len(pictures.classes))
    optimizer = optimizers.build(config, config.epochs, model.trainable_variables)
    totals = Totals({"loss": tf.float32, "accuracy": tf.int64})
    step = session.strategy.build(classification.learning(model, optimizer), totals, classification.BATCH)
    dataset = pictures.training(config.batch_size, seed=1, distortion=augmentation.of(config))

    def read(epoch: int):
        for number in range(epoch, epoch + steps):
            yield from dataset(number, 0, Shard())

    def timed(run) -> float:
        began, seen = time.monotonic(), 0
        for number, batch in zip(range(steps), run(), strict=False):
            seen += len(batch[1])
            if run is not pipeline:
                step(*batch, number + 1)
        return seen / (time.monotonic() - began)

    def pipeline():
        return read(1)

    ready = next(iter(dataset(0, 0, Shard())))
    step(*ready, 1)
    best = {"pipeline": 0.0, "step": 0.0, "training": 0.0}
    for _ in range(rounds):
        for name, run in (("pipeline", pipeline), ("step", lambda: [ready] * steps), ("training", lambda: read(1))):
            best[name] = max(best[name], timed(run))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--per-class", type=int, default=photographs.PER_CLASS)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        photographs.write(root / "data", per_class=options.per_class)
        file, weights = published.efficientnet_lite0(), root / "lite0.weights.h5"
        convert = ("convert-weights", str(file), str(weights), "--network=efficientnet-lite0")
        subprocess.run([sys.executable, "-m", "fovea_trainers", *convert], check=True, stdout=sys.stderr)
        transfer = ("transfer-classifier", f"--data={root / 'data'}", f"--weights={weights}", *LITE)
        scratch = ("image-classifier", f"--data={root / 'data'}", *SCRATCH, f"--epochs={options.epochs}")
        rows = {"transfer-classifier, features computed": train(root / "transfer", *transfer)}
        shutil.rmtree(root / "transfer/fovea-out/checkpoints")  # another head has other weights
        another = ("--head=64", "--head-dropout=0.3")
        rows["transfer-classifier, another head, features in the cache"] = train(root / "transfer", *transfer, *another)
        rows["image-classifier from scratch"] = train(root / "scratch", *scratch, f"--patience={options.epochs}")
        print("| run | test accuracy | seconds |\n|---|---|---|")
        for name, (accuracy, seconds) in rows.items():
            print(f"| {name} | {accuracy:.1%} | {seconds:.0f} |")
        found = rates(root / "data/train")
        print("\n| pipeline alone, img/s | step alone | training | training / step |\n|---|---|---|---|")
        print(
            f"| {found['pipeline']:.0f} | {found['step']:.0f} | {found['training']:.0f} | {found['training'] / found['step']:.0%} |"
        )


if __name__ == "__main__":
    main()
