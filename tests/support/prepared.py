"""Small stand-ins of TensorFlow Datasets, written by their own builders."""

from unittest import mock


def prepare_small(name, data_dir, examples, splits_sizes):
    """Writes a small stand-in of a TFDS data set by its own builder, several files a split."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    generators = {split: examples(size) for split, size in splits_sizes.items()}
    with mock.patch.object(type(builder), "_split_generators", return_value=generators):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return data_dir
