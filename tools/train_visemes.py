"""Trains the demo backend's network from speech to mouth, and writes its weights.

    python3 -m venv .venv && .venv/bin/pip install -r tools/train_visemes.requirements.txt
    .venv/bin/python tools/train_visemes.py            # some ten minutes on two idle cores
    .venv/bin/python tools/train_visemes.py --score    # only scores the weights that are there

Needs flite and espeak-ng from the system's packages. The speech is synthesised here from sentences made here, so the
weights hold nothing of anybody else's recordings beyond what those programs' voices are made of, and are under the
project's licence. One voice (rms) is never trained on; the printed score is its.
Seeded: the same packages on the same processor give the same weights, but for rounding.
"""

import argparse
from pathlib import Path

from visemes import corpus, network, score

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "backends" / "demo" / "assets"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=160, help="speech to synthesise for training")
    parser.add_argument("--steps", type=int, default=5_000, help="training steps")
    parser.add_argument("--cache", type=Path, default=Path("data/visemes"), help="folder for synthesised features")
    parser.add_argument("--out", type=Path, default=ASSETS / "visemes.bin")
    parser.add_argument("--golden", type=Path, default=ASSETS / "visemes.golden.bin")
    parser.add_argument("--score", action="store_true", help="do not train")
    options = parser.parse_args()

    held_out = corpus.load(options.cache, "held-out", minutes=8, seed=2)
    if not options.score:
        train = corpus.load(options.cache, "train", minutes=options.minutes, seed=1)
        weights = network.train(train, held_out, steps=options.steps, seed=3)
        network.save(weights, options.out)
    weights = network.read(options.out)
    network.save_golden(weights, options.golden)
    score.report(weights, held_out)


if __name__ == "__main__":
    main()
