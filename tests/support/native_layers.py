"""One linear layer in C memory: its passes by any table of kernels and any number of threads, beside NumPy's."""

import dataclasses
import threading

import hypothesis.strategies as st
import numpy as np

from wage_tf import native
from wage_tf.integer import linear
from wage_tf.integer.linear import Window

GUARD = 64
OPEN, CLIPPED, PLACE = 1, 2, 2


@dataclasses.dataclass
class Case:
    """The geometry of a layer, and what its operands are drawn from."""

    count: int
    size: tuple[int, int]
    channels: int
    filters: int
    window: Window
    groups: int = 1
    pool: tuple[int, int] = (1, 1)
    w_limit: int = 1
    x_signed: bool = False
    relu: bool = True
    shift: int = 5
    extreme: bool = False
    seed: int = 0

    @property
    def positions(self):
        return self.window.positions(self.size)

    @property
    def pooled(self):
        return tuple(size // by for size, by in zip(self.positions, self.pool, strict=True))

    def numbers(self):
        return np.random.default_rng(self.seed)

    def codes(self, shape, smallest, largest, dtype=np.int8):
        """Random codes; the extremes alone where the case says so."""
        if self.extreme:
            return self.numbers().choice(np.array([smallest, largest], dtype), shape)
        return self.numbers().integers(smallest, largest + 1, shape).astype(dtype)

    def x(self, largest=127, dtype=np.int8):
        shape = (self.count, *self.size, self.channels)
        return self.codes(shape, -largest if self.x_signed else 0, largest, dtype)

    def w(self, dtype=np.int8):
        shape = (*self.window.size, self.channels // self.groups, self.filters)
        return self.codes(shape, -self.w_limit, self.w_limit, dtype)

    def e(self, largest=127, dtype=np.int8):
        return self.codes((self.count, *self.positions, self.filters), -largest, largest, dtype)


@st.composite
def cases(draw, largest_channels=70, wide=False):
    """Layers of all geometries that a graph can ask for."""
    axis = st.integers(1, 4)
    size = draw(st.tuples(st.integers(1, 13), st.integers(1, 13)))
    window = Window(
        draw(st.tuples(axis, axis)),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        draw(st.sampled_from(["same", "valid"])),
        draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)])),
    )
    if min(window.positions(size)) < 1:
        window = dataclasses.replace(window, padding="same")
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    depthwise = draw(st.integers(0, 5)) == 0
    per_group = draw(st.integers(1, largest_channels // groups))
    outputs = draw(st.integers(1, largest_channels // groups))
    channels, filters = (per_group, per_group) if depthwise else (per_group * groups, outputs * groups)
    pool = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (2, 1), (3, 2)]))
    if any(size < by for size, by in zip(window.positions(size), pool, strict=True)):
        pool = (1, 1)
    return Case(
        count=draw(st.integers(1, 5)),
        size=size,
        channels=channels,
        filters=filters,
        window=window,
        groups=channels if depthwise else groups,
        pool=pool,
        w_limit=draw(st.sampled_from([1, 1, 3, 127])) if not wide else draw(st.sampled_from([1, 127, 2047])),
        x_signed=draw(st.booleans()),
        relu=draw(st.booleans()),
        shift=draw(st.integers(0, 14)),
        extreme=draw(st.integers(0, 3)) == 0,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


class Layer:
    """A case in memory, for one table of kernels and a team of threads."""

    def __init__(self, case, table, threads=1, sums=False, wide_gradient=False, wide=False):
        extension = native.runtime()
        self.ffi, self.lib = extension.ffi, extension.lib
        self.case, self.table, self.threads, self.wide = case, table, threads, wide
        self.code = np.dtype(np.int16 if wide else np.int8)
        self.sum = np.dtype(np.int64 if wide else np.int32)
        self.wide_gradient = wide_gradient or wide
        (top, _), (left, _) = case.window.pads(case.size)
        height, width = case.positions
        fields = {
            "batch": case.count,
            "in_h": case.size[0],
            "in_w": case.size[1],
            "channels": case.channels,
            "window_h": case.window.size[0],
            "window_w": case.window.size[1],
            "stride_h": case.window.strides[0],
            "stride_w": case.window.strides[1],
            "dilation_h": case.window.dilation[0],
            "dilation_w": case.window.dilation[1],
            "pad_top": top,
            "pad_left": left,
            "out_h": height,
            "out_w": width,
            "filters": case.filters,
            "groups": case.groups,
            "x_signed": case.x_signed,
            "w_limit": case.w_limit,
            "e_zero": table.e_zero,
            "wide_gradient": self.wide_gradient,
            "output": 0 if sums else 1,
            "pool_h": case.pool[0],
            "pool_w": case.pool[1],
            "relu": case.relu and not sums,
            "shift": case.shift,
            "limit": 32767 if wide else 127,
        }
        self.layer = self.ffi.new("wage_layer *", fields)
        self.kept = []

    def takes(self):
        return bool(self.table.takes(self.layer))

    # Memory

    def block(self, size):
        """Bytes at a multiple of 64 between random guards, and a function that says whether those are intact."""
        whole = np.random.default_rng(1).integers(0, 256, size + 3 * GUARD).astype(np.uint8)
        begin = GUARD + -whole.ctypes.data % GUARD
        before, after = whole[:begin].copy(), whole[begin + size :].copy()
        self.kept.append(whole)
        intact = lambda: (whole[:begin] == before).all() and (whole[begin + size :] == after).all()  # noqa: E731
        return whole[begin : begin + size], intact

    def pointer(self, array):
        return self.ffi.cast("void *", array.ctypes.data)

    def image(self, codes, top, left, bottom, right, zero=0):
        """Codes with a border; returns the C struct and the inner view."""
        count, height, width, channels = codes.shape
        rows, columns = top + height + bottom, left + width + right
        raw, _ = self.block(count * rows * columns * channels * self.code.itemsize)
        whole = raw.view(self.code).reshape(count, rows, columns, channels)
        whole[...] = np.array(zero).astype(np.uint8).view(np.int8) if zero else 0
        inner = whole[:, top : top + height, left : left + width]
        inner[...] = codes
        struct = {"data": self.pointer(inner), "row": columns * channels, "image": rows * columns * channels}
        return self.ffi.new("wage_image *", struct), inner

    def x_image(self, x):
        case, layer = self.case, self.layer
        reach = [
            max(0, (count - 1) * stride + span - pad - size)
            for count, stride, span, pad, size in zip(
                case.positions,
                case.window.strides,
                case.window.span,
                (layer.pad_top, layer.pad_left),
                case.size,
                strict=True,
            )
        ]
        return self.image(x, layer.pad_top, layer.pad_left, *reach)

    def e_image(self, e):
        layer = self.layer
        border = (0, 0, 0, 0)
        if layer.stride_h == layer.stride_w == 1:
            border = (
                layer.dilation_h * (layer.window_h - 1) - layer.pad_top,
                layer.dilation_w * (layer.window_w - 1) - layer.pad_left,
                layer.in_h + layer.pad_top - layer.out_h,
                layer.in_w + layer.pad_left - layer.out_w,
            )
        stored = (e.astype(np.int64) + layer.e_zero).astype(np.uint8).view(np.int8) if not self.wide else e
        return self.image(stored, *(max(0, size) for size in border), zero=layer.e_zero)

    # Passes

    def run(self, call):
        """Calls `call(team)` by every member of the team; returns their results."""
        barrier = self.ffi.gc(self.lib.wage_barrier_new(self.threads), self.lib.wage_barrier_free)
        results = [None] * self.threads

        def member(i):
            wait = self.ffi.addressof(self.lib, "wage_barrier_wait")
            team = {"index": i, "count": self.threads, "wait": wait, "barrier": barrier}
            results[i] = call(self.ffi.new("wage_team *", team))

        threads = [threading.Thread(target=member, args=(i,)) for i in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def workspace(self):
        return self.pointer(self.block(self.table.workspace_size(self.layer, self.threads))[0])

    def packed(self, w, training):
        codes, _ = self.block(w.size * self.code.itemsize)
        codes.view(self.code)[...] = w.reshape(-1)
        size = self.table.packed_size(self.layer)
        if size == 0:
            return self.pointer(codes)
        packed, intact = self.block(size)
        self.run(lambda team: self.table.pack(self.layer, self.pointer(codes), self.pointer(packed), training, team))
        assert intact()
        return self.pointer(packed)

    def forward(self, x, w):
        """Codes (or sums) and gates."""
        case = self.case
        shape = (case.count, *case.pooled, case.filters)
        image, _ = self.x_image(x)
        gates, intact = self.block(int(np.prod(shape)))
        packed, workspace = self.packed(w, training=0), self.workspace()
        if self.layer.output:
            y, out = self.image(np.zeros(shape, self.code), 1, 2, 1, 0)
        else:
            raw, _ = self.block(int(np.prod(shape)) * self.sum.itemsize)
            out = raw.view(self.sum).reshape(shape)
            y = self.ffi.new("wage_image *", {"data": self.pointer(out)})
        gate = self.ffi.cast("uint8_t *", gates.ctypes.data)
        self.run(lambda team: self.table.forward(self.layer, packed, image, y, gate, case.count, workspace, team))
        assert intact()
        return out, gates.reshape(shape)

    def error(self, e, w, gate):
        """Sums and the largest magnitude."""
        case = self.case
        shape = (case.count, *case.size, case.channels)
        image, _ = self.e_image(e)
        raw, intact = self.block(int(np.prod(shape)) * self.sum.itemsize)
        packed, workspace = self.packed(w, training=1), self.workspace()
        gates = self.ffi.NULL if gate is None else self.ffi.from_buffer("uint8_t[]", gate)
        largest = self.run(
            lambda team: self.table.error(
                self.layer, packed, image, self.pointer(raw), gates, case.count, workspace, team
            )
        )
        assert intact()
        return raw.view(self.sum).reshape(shape), max(largest)

    def gradient(self, x, e):
        """Sums and the largest magnitude."""
        case = self.case
        dtype = np.dtype(np.int64 if self.wide_gradient else np.int32)
        shape = (*case.window.size, case.channels // case.groups, case.filters)
        images = self.x_image(x)[0], self.e_image(e)[0]
        raw, intact = self.block(int(np.prod(shape)) * dtype.itemsize)
        workspace = self.workspace()
        largest = self.run(
            lambda team: self.table.gradient(self.layer, *images, self.pointer(raw), case.count, workspace, team)
        )
        assert intact()
        return raw.view(dtype).reshape(shape), max(largest)

    def round_errors(self, sums, gate, shift, limit):
        """Codes of the errors, without e_zero."""
        case = self.case
        e, inner = self.e_image(np.zeros((case.count, *case.positions, case.filters), self.code))
        rounding = self.ffi.new("wage_rounding *", {"shift": shift, "limit": limit})
        block, _ = self.block(sums.nbytes)
        block.view(self.sum)[...] = sums.reshape(-1)
        gates = self.ffi.NULL if gate is None else self.ffi.from_buffer("uint8_t[]", gate)
        self.run(
            lambda team: self.table.round_errors(self.layer, rounding, self.pointer(block), gates, e, case.count, team)
        )
        if self.wide:
            return inner
        return inner.view(np.uint8).astype(np.int64) - self.layer.e_zero if self.layer.e_zero else inner


def pooled(sums, pool):
    """The maximum of windows side by side, and the place of the first in its window, row by row."""
    count, height, width, channels = sums.shape
    rows, columns = height // pool[0], width // pool[1]
    cut = sums[:, : rows * pool[0], : columns * pool[1]].reshape(count, rows, pool[0], columns, pool[1], channels)
    places = cut.transpose(0, 1, 3, 5, 2, 4).reshape(count, rows, columns, channels, -1)
    return places.max(axis=-1), places.argmax(axis=-1)


def spread(errors, places, pool, shape):
    """Pooled errors at the places they came from, zeros elsewhere."""
    out = np.zeros(shape, errors.dtype)
    rows, columns = errors.shape[1:3]
    for place in range(pool[0] * pool[1]):
        i, j = divmod(place, pool[1])
        part = out[:, i : rows * pool[0] : pool[0], j : columns * pool[1] : pool[1]]
        part[...] = np.where(places == place, errors, 0)
    return out


def convolve(case, x, w):
    return linear.convolve(x, w, case.window, case.groups)


def convolve_error(case, e, w):
    return linear.convolve_error(e, w, (case.count, *case.size, case.channels), case.window, case.groups)


def convolve_gradient(case, x, e):
    return linear.convolve_gradient(x, e, case.window, case.groups)
