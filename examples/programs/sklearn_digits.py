"""A scikit-learn script as a training job: it knows folders and variables of the environment, nothing else of Fovea.

Its model is no SavedModel: it becomes a version of the model all the same, and the input of other jobs (model://…).
"""

import json
import os
import signal
import sys
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

AGAIN = 75  # "start me again": the next attempt goes on from the newest checkpoint

data = Path(os.environ["FOVEA_INPUT_DIR"]) / "data"
checkpoints = Path(os.environ["FOVEA_CHECKPOINT_DIR"])
output = Path(os.environ["FOVEA_OUTPUT_DIR"])
progress = Path(os.environ["FOVEA_PROGRESS_FILE"])


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of class folders as rows of 64 shades in 0..1, and the names of their classes."""
    paths = sorted(folder.glob("*/*.png"))
    pictures = [np.asarray(Image.open(path).convert("L").resize((8, 8)), np.float32) for path in paths]
    return np.stack(pictures).reshape(len(paths), 64) / 255, np.array([path.parent.name for path in paths])


def save(model: MLPClassifier, epoch: int) -> None:
    """Write under a name that is no checkpoint's, then rename: a checkpoint is there whole or not at all."""
    unfinished = checkpoints / ".unfinished.joblib"
    joblib.dump(model, unfinished)
    unfinished.rename(checkpoints / f"epoch-{epoch:04d}.joblib")


def main(epochs: int) -> None:
    """Train to `epochs` in all attempts together, and evaluate."""
    asked_to_stop = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.append(True))
    pictures, labels = read(data)
    classes = np.unique(labels)
    x, held_out, y, truth = train_test_split(pictures, labels, test_size=0.2, stratify=labels, random_state=1)
    found = sorted(checkpoints.glob("epoch-*.joblib"))
    model = joblib.load(found[-1]) if found else MLPClassifier((64,), learning_rate_init=0.01, random_state=1)
    done = int(found[-1].stem.partition("-")[2]) if found else 0
    print(f"{done} of {epochs} epochs are done", flush=True)
    metrics = {}
    for epoch in range(done + 1, epochs + 1):
        model.partial_fit(x, y, classes=classes)
        scores = model.predict_proba(held_out)
        metrics = {
            "accuracy": float(accuracy_score(truth, classes[scores.argmax(axis=1)])),
            "loss": float(log_loss(truth, scores, labels=classes)),
        }
        save(model, epoch)
        with progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": epoch, "steps": epochs, "metrics": metrics}) + "\n")
        if asked_to_stop:
            sys.exit(AGAIN)
    joblib.dump(model, Path(os.environ["FOVEA_MODEL_DIR"]) / "model.joblib")
    (output / "evaluation.json").write_text(json.dumps({"mainMetric": "accuracy", "metrics": metrics}))
    (output / "_SUCCESS").touch()


if __name__ == "__main__":
    main(epochs=int(sys.argv[1].partition("=")[2]) if len(sys.argv) > 1 else 30)
