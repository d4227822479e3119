#!/usr/bin/env python3
"""Searches for the bit widths a network needs: `python tuner.py --dataset mnist --weights 1,2,4 --activations 4,8`."""

import sys

from wage_tf.cli.tune import main

if __name__ == "__main__":
    sys.exit(main())
