"""The paper's tables and figures as runnable configurations: `python -m experiments.run NAME`, then `.report`."""

from train import quiet_tensorflow as _quiet_tensorflow

with _quiet_tensorflow(verbose=False):
    import wage_tf as _  # noqa: F401  TensorFlow's first import prints
