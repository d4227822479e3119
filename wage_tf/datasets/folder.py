"""Image folders: `PATH/train/CLASS/IMAGE`, and `PATH/test/CLASS/IMAGE` where there is a test set.

Classes are the sub-folders of `train`, sorted by name. Images are greyscale or RGB, all alike. Hidden files are left
out; anything else in a class's folder that is not an image is an error, and so is an image in none, so that no image
is lost unnoticed.
A camera's orientation (EXIF) is applied. Images are ordered so that classes mix evenly: the first or last n of them
represent all classes.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wage_tf import machine
from wage_tf.datasets.pipeline import Dataset
from wage_tf.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
CHANNELS = {"L": 1, "RGB": 3}
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its name says; it starts a program to read some others."""


class ImageFile(NamedTuple):
    """A file and the label that its folder gives it."""

    path: Path
    label: int


def load_folder(path: str | os.PathLike, limit: int | None = None, image_size: int | None = None) -> Dataset:
    """Loads an image folder into memory.

    Args:
        path: The folder that holds `train` and perhaps `test`.
        limit: Keep only the first `limit` training images.
        image_size: Resize the shorter side to this and crop the central square; None takes images as they are.

    Raises:
        UserError: If the folder does not have this layout, if an image is damaged or differs from the others in size
            or channels, or if the images do not fit into memory.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give a folder that holds train/CLASS/IMAGE files")
    if not (root / "train").is_dir():
        raise UserError(f"{root} has no folder 'train': put the images into {root / 'train'}/CLASS/")
    class_names = _folders(root / "train")
    if len(class_names) < 2:
        raise UserError(
            f"{root / 'train'} holds {len(class_names)} class folders: at least two are needed, one for each class"
        )
    files = {"train": _image_files(root / "train", class_names)[:limit]}
    if (root / "test").is_dir():
        files["test"] = _image_files(root / "test", class_names)
    count = sum(map(len, files.values()))
    shape = _common_shape([file for part in files.values() for file in part], image_size)
    _check_memory(root, count, shape)
    arrays = {part: _read(part_files, shape, image_size) for part, part_files in files.items()}
    x_train, y_train = arrays["train"]
    x_test, y_test = arrays.get("test", (None, None))
    return Dataset.from_arrays(root.resolve().name, x_train, y_train, x_test, y_test, tuple(class_names))


def _folders(path: Path) -> list[str]:
    """Names of the class folders in `path`, sorted."""
    names = []
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            names.append(_in_utf8(entry))
        elif entry.suffix.lower() in EXTENSIONS:
            raise UserError(f"{entry} is in no class's folder: move it into {path}/CLASS/, or remove it")
    return names


def _in_utf8(folder: Path) -> str:
    """The name of a class, which a run's files have to hold."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{str(folder)!a} is not named in UTF-8: rename it") from error
    return folder.name


def _image_files(path: Path, class_names: Sequence[str]) -> list[ImageFile]:
    """Lists the images below `path`, the classes mixed evenly."""
    unknown = sorted(set(_folders(path)) - set(class_names))
    if unknown:
        raise UserError(f"{path / unknown[0]} is a class without training images: add them to train, or remove it")
    ranked = []
    for label, name in enumerate(class_names):
        images = _images_of_class(path / name) if (path / name).is_dir() else []
        ranked += [((rank + 0.5) / len(images), ImageFile(image, label)) for rank, image in enumerate(images)]
    if not ranked:
        raise UserError(f"{path} holds no images: put them into {path}/CLASS/")
    return [file for _, file in sorted(ranked, key=lambda item: (item[0], item[1].label))]


def _images_of_class(path: Path) -> list[Path]:
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if entry.suffix.lower() not in EXTENSIONS or not entry.is_file():
            raise UserError(f"{entry} is not an image file ({' '.join(EXTENSIONS)}): convert it or remove it")
    if not entries:
        raise UserError(f"{path} holds no images: add some, or remove the folder")
    return entries


def _common_shape(files: Sequence[ImageFile], image_size: int | None) -> tuple[int, int, int]:
    """Returns the (height, width, channels) of all images, from their headers."""
    shapes = _parallel(lambda file: _header(file.path), files)
    first, (height, width, channels) = files[0].path, shapes[0]
    for file, shape in zip(files, shapes, strict=True):
        if shape[2] != channels:
            raise UserError(
                f"{file.path} has {shape[2]} channels, {first} has {channels}: make all images greyscale or all RGB"
            )
        if image_size is None and shape != shapes[0]:
            raise UserError(
                f"{file.path} is {shape[1]}x{shape[0]} pixels, {first} is {width}x{height}:"
                " resize the images, or give image_size"
            )
    return (image_size, image_size, channels) if image_size else (height, width, channels)


def _header(path: Path) -> tuple[int, int, int]:
    mode, (width, height) = _open(path, lambda image: (image.mode, image.size))
    if mode not in CHANNELS:
        raise UserError(f"{path} has colour mode {mode}: convert it to greyscale (L) or RGB")
    return height, width, CHANNELS[mode]


def _read(files: Sequence[ImageFile], shape: tuple[int, int, int], size: int | None) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(files), *shape), np.uint8)

    def read(index: int) -> None:
        pixels = _open(files[index].path, lambda image: np.asarray(_central_square(image, size) if size else image))
        images[index] = pixels.reshape(shape)

    _parallel(read, range(len(files)))
    return images, np.array([file.label for file in files], np.int64)


def _central_square(image: Image.Image, size: int) -> Image.Image:
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BILINEAR)


def _open(path: Path, use: Callable[[Image.Image], Any]) -> Any:
    """Returns `use(image)`; whatever an image file can have wrong becomes a UserError."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if _has_wide_samples(image):
                raise UserError(f"{path} has more than 8 bits a channel: convert it to 8 bits")
            ImageOps.exif_transpose(image, in_place=True)
            return use(image)
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}): replace or remove it") from error


def _has_wide_samples(image: Image.Image) -> bool:
    """Whether an image that is not yet decoded has samples of more than 8 bits, of which Pillow may drop the rest."""
    for *_, arguments in image.tile:  # type: ignore[attr-defined]
        raw_mode, *others = (arguments,) if isinstance(arguments, str) else arguments
        if image.format in ("PNG", "TIFF") and ";16" in raw_mode:
            return True
        if image.format == "PPM" and (";16" in raw_mode or (others and others[0] > 255)):
            return True
    return False


def _parallel(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(machine.cpus()) as pool:
        return list(pool.map(function, items))


def _check_memory(root: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Raises if the images, which exist twice for a moment while they become tensors, exceed the memory."""
    needed, memory = 2 * count * math.prod(shape), machine.memory()
    if needed > memory:
        raise UserError(
            f"{root}: {count} images of {'x'.join(map(str, shape))} need {needed / 2**30:.1f} GiB of memory,"
            f" this machine has {memory / 2**30:.1f} GiB: give a smaller image_size or limit"
        )
