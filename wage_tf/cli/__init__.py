"""The command lines: arguments → one configuration → one call. Each answers `--help` before TensorFlow is imported."""
