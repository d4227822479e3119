#!/usr/bin/env python3
"""Trains a network in low-bit integers: `python train.py --dataset cifar10 --bits 2,8,8,8`."""

import sys

from wage_tf.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
