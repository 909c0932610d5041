"""Fills the demo's lake: a small real data set, and a model trained on what the mount gives back.

    python scripts/demo_data.py MOUNTPOINT
    python scripts/demo_data.py train DATASET MODEL

The second form trains on another version of the data, and saves another version of the model.
Everything goes through ordinary files under the mountpoint; nothing here knows
gridfsmount. ``metrics.json`` is written last, so its presence means that all is there.
Running this again writes the same files again.
"""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

README = """\
# Handwritten digits, version 1

1,797 scans of handwritten digits, 8×8 pixels of 0 to 16 each: the test part of the UCI
machine learning repository's "Optical Recognition of Handwritten Digits", as scikit-learn
ships it (sklearn.datasets.load_digits). A quarter of it is kept for testing.

- train.csv, test.csv: one digit a line, 64 pixels row by row, then the label
- images/train.npy, images/test.npy: the same pixels, shape (n, 8, 8), uint8
"""


def write_dataset(version: Path) -> None:
    """Write the digits into the folder ``version``, which exists."""
    digits = load_digits()
    parts = train_test_split(
        digits.images.astype(np.uint8),
        digits.target,
        test_size=0.25,
        random_state=0,
        stratify=digits.target,
    )
    train_images, test_images, train_labels, test_labels = parts

    (version / "README.md").write_text(README, encoding="utf-8")
    (version / "images").mkdir(exist_ok=True)
    for part, images, labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        np.save(version / "images" / f"{part}.npy", images)
        table = np.column_stack([images.reshape(len(images), -1), labels])
        header = ",".join([*(f"pixel{i}" for i in range(64)), "label"])
        np.savetxt(
            version / f"{part}.csv", table, fmt="%d", delimiter=",", header=header, comments=""
        )


def train_model(dataset: Path, version: Path) -> float:
    """Train on ``dataset``'s train.csv and save the model in the folder ``version``.

    Returns:
        The share of test.csv's digits that the model recognises.
    """
    train = np.loadtxt(dataset / "train.csv", delimiter=",", skiprows=1)
    test = np.loadtxt(dataset / "test.csv", delimiter=",", skiprows=1)

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train[:, :-1], train[:, -1])
    accuracy = float(model.score(test[:, :-1], test[:, -1]))

    joblib.dump(model, version / "model.joblib")
    metrics = {
        "dataset": "/".join(dataset.parts[-3:]),
        "train_rows": len(train),
        "test_rows": len(test),
        "accuracy": round(accuracy, 4),
    }
    (version / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return accuracy


def train(dataset: Path, model: Path) -> None:
    """Train on a version of the data set, and save what was learnt as a version of the model."""
    model.mkdir(parents=True, exist_ok=True)
    print("Training a classifier on", dataset)
    accuracy = train_model(dataset, model)
    print(f"It recognises {accuracy:.1%} of the test digits; saved in {model}")


def fill(mountpoint: Path) -> None:
    """Write the data set and the model below a mountpoint."""
    dataset = mountpoint / "datasets" / "digits" / "v1"
    dataset.mkdir(parents=True, exist_ok=True)
    print("Writing the data set to", dataset)
    write_dataset(dataset)
    train(dataset, mountpoint / "models" / "digits" / "v1")
    (mountpoint / "datasets" / "docs").mkdir(exist_ok=True)  # for the visitor's first copy


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["train", dataset, model]:
            train(Path(dataset), Path(model))
        case [mountpoint]:
            fill(Path(mountpoint))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
