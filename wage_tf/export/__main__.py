"""`python -m wage_tf.export RUN_DIR --to litert|packed|c [--out PATH]`."""

import sys

from wage_tf.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
