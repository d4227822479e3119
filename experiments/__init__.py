"""The paper's tables and figures as runnable configurations: `python -m experiments.run NAME`, then `.report`."""

from wage_tf.cli.startup import importing_tensorflow as _importing_tensorflow

with _importing_tensorflow():
    import tensorflow as _  # noqa: F401  its first import prints
