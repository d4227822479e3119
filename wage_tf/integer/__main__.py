"""`python -m wage_tf.integer verify RUN_DIR`."""

import sys

from wage_tf.cli.verify import main_of_module

if __name__ == "__main__":
    sys.exit(main_of_module())
