"""A script in the shape of a PyTorch program, without PyTorch: modules, a loader, an optimizer, `state_dict`.

It is here to show that a job may be a program of any framework: it knows folders and variables of the environment,
nothing else of Fovea. It saves each checkpoint as a folder with the number of the step, as most trainers of PyTorch do.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

AGAIN = 75  # "start me again": the next attempt goes on from the newest checkpoint
BATCH = 32

data = Path(os.environ["FOVEA_INPUT_DIR"]) / "data"
checkpoints = Path(os.environ["FOVEA_CHECKPOINT_DIR"])
output = Path(os.environ["FOVEA_OUTPUT_DIR"])
progress = Path(os.environ["FOVEA_PROGRESS_FILE"])


class Linear:
    """x [n, inputs] -> x · w + b [n, outputs]; remembers x and the gradients, as autograd would."""

    def __init__(self, inputs: int, outputs: int, random: np.random.Generator) -> None:
        self.parameters = {
            "w": random.normal(0, np.sqrt(2 / inputs), (inputs, outputs)),
            "b": np.zeros(outputs),
        }
        self.gradients: dict[str, np.ndarray] = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The layer's output."""
        self._x = x
        return x @ self.parameters["w"] + self.parameters["b"]

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        """The gradient by the output becomes those by the parameters, and by x, which is returned."""
        self.gradients = {"w": self._x.T @ gradient, "b": gradient.sum(axis=0)}
        return gradient @ self.parameters["w"].T


class Net:
    """Two layers with a rectifier between them."""

    def __init__(self, classes: int) -> None:
        random = np.random.default_rng(1)
        self.layers = {"hidden": Linear(64, 64, random), "logits": Linear(64, classes, random)}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Rows of 64 shades -> probabilities [n, classes]."""
        self._active = self.layers["hidden"].forward(x)
        logits = self.layers["logits"].forward(np.maximum(self._active, 0))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def backward(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Gradients of the mean cross-entropy."""
        gradient = (scores - np.eye(scores.shape[1])[labels]) / len(labels)
        self.layers["hidden"].backward(self.layers["logits"].backward(gradient) * (self._active > 0))

    def state_dict(self) -> dict[str, np.ndarray]:
        """All parameters by name."""
        return {
            f"{name}.{key}": value for name, layer in self.layers.items() for key, value in layer.parameters.items()
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take them back."""
        for name, layer in self.layers.items():
            layer.parameters = {key: state[f"{name}.{key}"] for key in layer.parameters}


class SGD:
    """Gradient descent with momentum."""

    def __init__(self, net: Net, rate: float, momentum: float) -> None:
        self.net, self.rate, self.momentum = net, rate, momentum
        self.velocity = {name: np.zeros_like(value) for name, value in net.state_dict().items()}

    def step(self) -> None:
        """One update by the gradients that the layers hold."""
        for name, layer in self.net.layers.items():
            for key, gradient in layer.gradients.items():
                velocity = self.momentum * self.velocity[f"{name}.{key}"] - self.rate * gradient
                self.velocity[f"{name}.{key}"] = velocity
                layer.parameters[key] = layer.parameters[key] + velocity


def loader(x: np.ndarray, y: np.ndarray, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches in an order that follows from the epoch alone: a resumed run sees what an undisturbed one would."""
    order = np.random.default_rng(epoch).permutation(len(x))
    for start in range(0, len(x), BATCH):
        chosen = order[start : start + BATCH]
        yield x[chosen], y[chosen]


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures of class folders as rows of 64 shades in 0..1, class numbers, and names of the classes."""
    paths = sorted(folder.glob("*/*.png"))
    classes = sorted({path.parent.name for path in paths})
    pictures = [np.asarray(Image.open(path).convert("L").resize((8, 8)), np.float64) for path in paths]
    labels = np.array([classes.index(path.parent.name) for path in paths])
    return np.stack(pictures).reshape(len(paths), 64) / 255, labels, classes


def save(net: Net, optimizer: SGD, step: int) -> None:
    """Write a folder under a name that is no checkpoint's, then rename it to `<step>/`."""
    unfinished = checkpoints / ".unfinished"
    unfinished.mkdir(exist_ok=True)
    np.savez(unfinished / "net.npz", **net.state_dict())
    np.savez(unfinished / "optimizer.npz", **optimizer.velocity)
    unfinished.rename(checkpoints / str(step))


def main(epochs: int) -> None:
    """Train to `epochs` in all attempts together, and evaluate."""
    asked_to_stop = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.append(True))
    x, y, classes = read(data)
    held_out = np.arange(len(x)) % 5 == 0
    net = Net(len(classes))
    optimizer = SGD(net, rate=0.05, momentum=0.9)
    done = max((int(path.name) for path in checkpoints.iterdir() if path.name.isdigit()), default=0)
    if done:
        net.load_state_dict(dict(np.load(checkpoints / str(done) / "net.npz")))
        optimizer.velocity = dict(np.load(checkpoints / str(done) / "optimizer.npz"))
    print(f"{done} of {epochs} epochs are done", flush=True)
    metrics = {}
    for epoch in range(done + 1, epochs + 1):
        for pictures, labels in loader(x[~held_out], y[~held_out], epoch):
            net.backward(net.forward(pictures), labels)
            optimizer.step()
        scores, truth = net.forward(x[held_out]), y[held_out]
        metrics = {
            "accuracy": float((scores.argmax(axis=1) == truth).mean()),
            "loss": float(-np.log(scores[np.arange(len(truth)), truth]).mean()),
        }
        save(net, optimizer, epoch)
        with progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": epoch, "steps": epochs, "metrics": metrics}) + "\n")
        if asked_to_stop:
            sys.exit(AGAIN)
    np.savez(Path(os.environ["FOVEA_MODEL_DIR"]) / "net.npz", **net.state_dict())
    (output / "evaluation.json").write_text(json.dumps({"mainMetric": "accuracy", "metrics": metrics}))
    (output / "_SUCCESS").touch()


if __name__ == "__main__":
    main(epochs=int(sys.argv[1].partition("=")[2]) if len(sys.argv) > 1 else 20)
