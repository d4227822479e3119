"""Hypothesis draws small networks with every kind of layer that the integer graph has."""

import keras
from hypothesis import strategies as st

from wage_tf import layers

PATTERNS = ("2-8-8-8", "1-8-8-8", "8-8-8-8", "4-6-12-5", "2-4-4-8")


class Drawing:
    """Draws the layers of a network one after the other."""

    def __init__(self, data):
        self.draw = data.draw

    def bits(self):
        return self.draw(st.sampled_from(PATTERNS))

    def conv(self, x, filters=None, keep_size=False):
        filters = filters or self.draw(st.integers(1, 4))
        size = self.draw(st.integers(1, 3))
        options = {"use_bias": self.draw(st.booleans()), "bits": self.bits(), "padding": "same"}
        if not keep_size and min(x.shape[1:3]) >= 5:
            options["padding"] = self.draw(st.sampled_from(("same", "valid")))
            stretch = self.draw(st.sampled_from(("strides", "dilation_rate", "none")))
            options |= {} if stretch == "none" else {stretch: 2}
        if x.shape[-1] % 2 == 0 and filters % 2 == 0:
            options["groups"] = self.draw(st.sampled_from((1, 2)))
        return layers.QConv2D(filters, size, **options)(x)

    def depthwise(self, x, keep_size=False):
        multiplier = 1 if keep_size else self.draw(st.integers(1, 2))
        return layers.QDepthwiseConv2D(
            2, padding="same", bits=self.bits(), depth_multiplier=multiplier, use_bias=self.draw(st.booleans())
        )(x)

    def quantized(self, x):
        bits, relu = self.bits(), self.draw(st.sampled_from(("relu", None)))
        if self.draw(st.booleans()):
            x = keras.layers.ReLU()(x)
        return layers.QActivation(bits, activation=relu)(x)

    def hidden(self, x):
        """A convolution and what quantizes it, perhaps with a pooling or a padding."""
        x = self.depthwise(x) if self.draw(st.booleans()) else self.conv(x)
        if min(x.shape[1:3]) >= 2:
            pool = self.draw(
                st.sampled_from(
                    (
                        keras.layers.Identity(),
                        keras.layers.MaxPooling2D(2, strides=1),
                        keras.layers.MaxPooling2D((1, 2), padding="same"),
                        keras.layers.Reshape((x.shape[2], x.shape[1], x.shape[3])),
                        keras.layers.AveragePooling2D(2),
                        keras.layers.AveragePooling2D((1, 2), strides=1),
                        keras.layers.ZeroPadding2D(((0, 1), (1, 0))),
                    )
                )
            )
            x = type(pool).from_config(pool.get_config() | {"name": None})(x)
        return self.quantized(x)

    def residual(self, x):
        """A sum of two or three branches; what follows quantizes it, or the branch is quantized and the sum is not."""
        branch = self.conv(self.quantized(self.conv(x, keep_size=True)), filters=x.shape[-1], keep_size=True)
        branches = [x, branch]
        if self.draw(st.booleans()):
            branches.append(self.quantized(self.depthwise(x, keep_size=True)))
        return self.quantized(keras.layers.Add()(branches))

    def concatenated(self, x):
        branches = [self.conv(x, keep_size=True), self.quantized(self.conv(x, keep_size=True)), x]
        joined = keras.layers.Concatenate()(branches[: self.draw(st.integers(2, 3))])
        return self.quantized(joined)

    def scores(self, x):
        size = x.shape[1] * x.shape[2]
        ways = ["flatten", "maximum", *(["average"] if size & (size - 1) == 0 else [])]
        match self.draw(st.sampled_from(ways)):
            case "flatten":
                x = keras.layers.Flatten()(x)
            case "maximum":
                x = layers.QGlobalMaxPooling2D()(x)
            case "average":
                x = self.quantized(keras.layers.GlobalAveragePooling2D()(x))
        x = layers.QDense(4, bits=self.bits(), use_bias=self.draw(st.booleans()))(x)
        if self.draw(st.booleans()):
            x = layers.QActivation("2-8-8-f", activation=None)(x)
        return layers.QError("2-8-8-8")(x)

    def model(self):
        side = self.draw(st.sampled_from((4, 5, 8)))
        image = keras.Input((side, side, self.draw(st.integers(1, 2))), dtype="uint8")
        x = layers.QRescaling(1 / 128, -1.0, bits=self.bits())(image)
        for _ in range(self.draw(st.integers(1, 3))):
            x = self.draw(st.sampled_from((self.hidden, self.residual, self.concatenated)))(x)
        return keras.Model(image, self.scores(x))


def network(data):
    """A model from uint8 images to four scores, drawn from `st.data()`."""
    return Drawing(data).model()


def every_kind():
    """A fixed model of every layer that has an integer node and trains, on images of 7×7 pixels and two channels."""
    kernels = {"bits": "8-8-8-8", "use_bias": True, "padding": "same"}
    image = keras.Input((7, 7, 2), dtype="uint8")
    x = keras.layers.ZeroPadding2D(((0, 1), (1, 0)))(image)
    x = layers.QRescaling(1 / 128, -1.0)(x)
    x = layers.QConv2D(4, 3, dilation_rate=2, groups=2, activation="relu", **kernels)(x)
    x = layers.QActivation(activation=None)(x)
    branch = keras.layers.Identity()(keras.layers.Activation("relu")(layers.QDepthwiseConv2D(2, **kernels)(x)))
    x = layers.QActivation()(keras.layers.Add()([x, branch]))
    x = layers.QActivation()(keras.layers.AveragePooling2D(2)(x))
    pooled = keras.layers.MaxPooling2D(2, strides=1, padding="same")(x)
    x = keras.layers.ReLU()(keras.layers.Concatenate()([layers.QConv2D(4, 1, **kernels)(x), pooled]))
    x = keras.layers.Reshape((2, 8, 8))(layers.QActivation()(x))
    x = layers.QActivation()(layers.QConv2D(4, (1, 3), **kernels)(x))
    average = layers.QActivation()(keras.layers.GlobalAveragePooling2D()(x))
    hidden = layers.QActivation()(layers.QDense(4, bits="8-8-8-8")(keras.layers.Flatten()(x)))
    x = keras.layers.Concatenate(axis=1)([average, layers.QGlobalMaxPooling2D()(x), hidden])
    return keras.Model(image, layers.QError()(layers.QDense(4, bits="8-8-8-8")(x)))
