"""Files that are cut, changed in a bit, overwritten, swapped, made up, or changed inside with fitting checksums."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

HOSTILE = (
    b"",
    b"\0" * 4096,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'"\\ud800"',
    b"1e999",
    b"\xff\xfe\x00",
    b"PK\x05\x06" + bytes(18),
    b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,)}\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    b"P6 8 8 65535\n" + bytes(384),
    b"WAGE-INT\x02\x00\xff\xff\xff\xff",
    b" " * (1 << 20),
)
VALUES = (
    None,
    True,
    -1,
    0,
    1,
    3,
    15,
    31,
    255,
    2**31 - 1,
    2**31,
    2**63,
    2**70,
    0.5,
    1e308,
    "",
    "\0",
    "x" * 10_000,
    "../../../victim",
    "\x1b[2J\n",
    [],
    {},
    [[]],
    [1, 1],
    [0],
    [2**31 - 1] * 4,
    "gs://a/b",
)
KINDS = ("bit", "cut", "garbage", "hostile", "gone", "folder", "link", "inside", "inside", "inside", "inside")


def damage(file: Path, rng: random.Random) -> str:
    """Damages a file, and says how."""
    content = file.read_bytes()
    place = rng.randrange(len(content) or 1)
    kind = rng.choice(KINDS)
    if kind == "bit" and content:
        file.write_bytes(_changed_bit(content, rng))
    elif kind == "cut":
        file.write_bytes(content[:place])
    elif kind == "garbage":
        file.write_bytes(_with_garbage(content, rng))
    elif kind == "hostile":
        file.write_bytes(rng.choice(HOSTILE))
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "link":
        file.unlink()
        os.symlink(rng.choice(("/dev/null", file, "/etc/passwd", "nowhere")), file)
    elif kind == "inside" and file.suffix in _INSIDE and content:
        changed, what = _INSIDE[file.suffix](content, rng)
        file.write_bytes(changed)
        return f"{what} in"
    else:
        file.unlink()
        return "gone"
    return f"{kind} at {place} of"


def _changed_bit(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) or 1)
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _with_garbage(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) or 1)
    return content[:place] + rng.randbytes(rng.randrange(1, 64)) + content[place + rng.randrange(64) :]


def _changed_json(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """One value of a JSON text is another, or gone, or twice there."""
    value = json.loads(content)
    places = []

    def collect(node: object) -> None:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(child, dict | list):
                collect(child)

    if isinstance(value, dict | list):
        collect(value)
    if not places:
        return content, "nothing"
    node, key = rng.choice(places)
    kind = rng.choice(("value", "value", "number", "swap", "gone"))
    if kind == "number" and type(node[key]) in (int, float):
        node[key] = rng.choice((-1, 1)) + node[key] if rng.random() < 0.5 else node[key] * rng.choice((-1, 2, 1000))
    elif kind == "swap":
        other, other_key = rng.choice(places)
        node[key], other[other_key] = json.loads(json.dumps([other[other_key], node[key]]))
    elif kind == "gone":
        del node[key]
        return json.dumps(value).encode(), f"no {key!r}"
    else:
        node[key] = rng.choice(VALUES)
    return json.dumps(value).encode(), f"{key} is {str(node[key])[:20]!r}"


def _changed_packed(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Another header or other arrays in a packed model, whose digest fits."""
    length = struct.unpack_from("<I", content, 10)[0]
    header, arrays, what = content[14 : 14 + length], content[14 + length : -32], "other arrays"
    if rng.random() < 0.9:
        header, what = _changed_json(header, rng)
    else:
        arrays = rng.choice((_changed_bit, _with_garbage))(arrays, rng)
    body = content[:10] + struct.pack("<I", len(header)) + header + arrays
    return body + hashlib.sha256(body).digest(), what


def _changed_checkpoint(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Another archive in a checkpoint, whose digest fits."""
    archive, what = rng.choice(((_changed_zip(content[32:], rng)), (_changed_bit(content[32:], rng), "a bit")))
    return hashlib.sha256(archive).digest() + archive, what


def _changed_zip(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Another member in a zip archive, whose checksums fit."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(changed, "w") as after:
        members = {name: before.read(name) for name in before.namelist()}
        name = rng.choice(sorted(members))
        what = f"another {name}"
        if name.endswith(".json") and rng.random() < 0.8:
            members[name], what = _changed_json(members[name], rng)
        elif rng.random() < 0.1:
            del members[name]
        else:
            members[name] = rng.choice((_changed_bit, _with_garbage, lambda *_: rng.choice(HOSTILE)))(
                members[name], rng
            )
        for member, text in members.items():
            after.writestr(member, text)
    return changed.getvalue(), what


_INSIDE: dict[str, Callable[[bytes, random.Random], tuple[bytes, str]]] = {
    ".json": _changed_json,
    ".wage": _changed_packed,
    ".ckpt": _changed_checkpoint,
    ".keras": _changed_zip,
}
