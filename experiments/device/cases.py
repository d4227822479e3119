"""The trainings by name; a new row is an entry here."""

from __future__ import annotations

from experiments.device.perceptrons import Perceptron
from experiments.device.rotated import Rotated

_TEN = ((0, 3), (6, 0), (8, -3))
_HALF = (
    "--engine integer --dataset fashion_mnist --model lenet5 --width 0.5 --epochs 5 --schedule 8@0,1@3,0.125@4 "
    "--histogram-freq 0 --seed 0"
)
_RAM = 262144

ROTATED = {
    "rotated-fc2": Rotated("fc2", 8, 10, ((0, 2),)),
    "rotated-fc1": Rotated("fc1", 8, 10, _TEN),
    "rotated-half-fc1": Rotated("fc1", 8, 10, _TEN, _HALF, _RAM),
}
PERCEPTRONS = {
    "mnist": Perceptron("mnist", "mlp_100_50", "8-8-8-8", 64, 20, ((0, 2), (14, 0), (17, -3))),
    "fashion_mnist": Perceptron("fashion_mnist", "mlp_200_100_50", "8-8-8-8", 64, 20, ((0, 1), (14, 0), (17, -3))),
}
CASES = ROTATED | PERCEPTRONS
