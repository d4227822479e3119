"""Configurations that version 0.1 wrote: it looked augmentation, loss and output clip up by names, as frozen here."""

from __future__ import annotations

import json
from pathlib import Path

from wage_tf.errors import UserError

_PAD_AND_FLIP = {"pad": 4, "crop": None, "flip": True}
_IMAGENET = {"pad": 0, "crop": 224, "flip": True}
_AUGMENTATION = {
    "digits": None,
    "mnist": None,
    "fashion_mnist": None,
    "cifar10": _PAD_AND_FLIP,
    "cifar100": _PAD_AND_FLIP,
    "svhn_cropped": {"pad": 4, "crop": None, "flip": False},
    "imagenet2012": _IMAGENET,
}
_CLIPS_OUTPUTS = ("lenet5", "mlp")
_LARGE_SIDE = 224
_REQUIRED = {"dataset", "image_size", "model", "bits", "schedule"}


def upgraded(path: Path, content: bytes) -> bytes:
    """Returns the content of a config.json in today's form; what is none of version 0.1 is returned as it is.

    Raises:
        UserError: If the run was trained on a folder of images of their own size, which decided how.
    """
    try:
        settings = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(settings, dict) or not settings.keys() >= _REQUIRED or settings.keys() & {"format", "data"}:
        return content
    dataset, size = settings["dataset"], settings["image_size"]
    known = isinstance(dataset, str) and dataset in _AUGMENTATION
    if not known and not isinstance(size, int):
        raise UserError(f"{path}: version 0.1 did not keep how its folder of images was trained: start a new run")
    is_large = dataset == "imagenet2012" or (not known and size >= _LARGE_SIDE)
    own_images = _IMAGENET if is_large else _PAD_AND_FLIP
    today = {
        "format": 2,
        "data": None,
        "source": None,
        "factor": 1.0,
        "clip_bits": None,
        "clip_outputs": settings["model"] in _CLIPS_OUTPUTS,
        "gamma": 1.0,
        "random_width": 16,
        "engine": "keras",
        "loss": "softmax_cross_entropy" if is_large else "sum_squared_error",
        "augmentation": _AUGMENTATION[dataset] if known else own_images,
    }
    return json.dumps({**today, **settings}).encode()
