/* Codes and weights as pictures, a pixel each. Zero is the paper's colour; the larger a code the stronger its colour. */

const VECTOR_ROW = 64; // codes of a vector side by side
const SHOWN_WEIGHTS = 8192; // kernels with more show where weights flipped
const MAP = [256, 64]; // the most columns and rows of that map

/** The colours of the page's scheme. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => {
    const text = style.getPropertyValue(name).trim();
    return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
  };
  return Object.fromEntries(["zero", "positive", "negative", "flip", "gap"].map((name) => [name, colour(`--${name}`)]));
}

const mix = (from, to, share) => from.map((part, i) => Math.round(part + share * (to[i] - part)));

/** The colour of a code; square roots bring out the small ones. */
function shade(colours, code, largest) {
  const share = Math.sqrt(Math.min(Math.abs(code) / largest, 1));
  return mix(colours.zero, code < 0 ? colours.negative : colours.positive, share);
}

/** Fills a canvas of width by height pixels by colour(x, y). */
function paint(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  canvas.style.width = `${width * Math.max(1, Math.floor(416 / width))}px`;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; ++i) {
    image.data.set([...colour(i % width, Math.floor(i / width)), 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Tiles side by side, for a picture about twice as wide as high. */
function tileColumns(height, width, channels) {
  return Math.min(channels, Math.ceil(Math.sqrt((2.2 * channels * height) / width)));
}

/** Channels of height by width as tiles with a gap between them; pick(y, x, channel) gives a colour. */
function paintTiles(canvas, [height, width, channels], colours, pick) {
  const columns = tileColumns(height, width, channels);
  const rows = Math.ceil(channels / columns);
  paint(canvas, columns * (width + 1) - 1, rows * (height + 1) - 1, (x, y) => {
    const [tx, ty] = [x % (width + 1), y % (height + 1)];
    const channel = Math.floor(y / (height + 1)) * columns + Math.floor(x / (width + 1));
    return tx === width || ty === height || channel >= channels ? colours.gap : pick(ty, tx, channel);
  });
}

/** An activation: a tile a channel, or a vector row by row. */
function paintActivation(canvas, values, tensor) {
  const colours = palette();
  const [height, width, channels] = tensor.shape;
  const colour = (i) => (i < values.length ? shade(colours, values[i], tensor.largest) : colours.gap);
  if (height * width === 1) {
    const columns = Math.min(channels, VECTOR_ROW);
    paint(canvas, columns, Math.ceil(channels / columns), (x, y) => colour(y * columns + x));
  } else {
    paintTiles(canvas, tensor.shape, colours, (y, x, channel) => colour((y * width + x) * channels + channel));
  }
}

/** Which code of an activation's picture lies at pixel x, y: its index and its place in words; null in a gap. */
function activationAt({ shape: [height, width, channels] }, x, y) {
  if (height * width === 1) {
    const index = y * Math.min(channels, VECTOR_ROW) + x;
    return index < channels ? { index, text: `unit ${index}` } : null;
  }
  const [tx, ty] = [x % (width + 1), y % (height + 1)];
  const channel = Math.floor(y / (height + 1)) * tileColumns(height, width, channels) + Math.floor(x / (width + 1));
  if (tx === width || ty === height || channel >= channels) return null;
  return { index: (ty * width + tx) * channels + channel, text: `channel ${channel}, row ${ty}, column ${tx}` };
}

/** A kernel: its weights, those that flipped in the last step in the colour of flips; large ones as a map of flips. */
function paintKernel(canvas, kernel, codes, before) {
  const colours = palette();
  const filters = kernel.shape.at(-1);
  const inputs = codes.length / filters;
  const largest = Math.max(1, 2 ** (kernel.width - 1) - 1);
  const colour = (i) => (codes[i] === before[i] ? shade(colours, codes[i], largest) : colours.flip);
  if (codes.length > SHOWN_WEIGHTS) {
    paintMap(canvas, codes, before, inputs, filters, colours);
  } else if (kernel.shape.length === 4) {
    const [height, width, channels] = kernel.shape;
    paintTiles(canvas, [height, width, channels * filters], colours, (y, x, tile) =>
      colour((y * width + x) * channels * filters + tile),
    );
  } else {
    paint(canvas, inputs, filters, (x, y) => colour(x * filters + y));
  }
}

function paintMap(canvas, codes, before, inputs, filters, colours) {
  const [columns, rows] = [Math.min(MAP[0], inputs), Math.min(MAP[1], filters)];
  const flips = new Uint32Array(columns * rows);
  for (let i = 0; i < codes.length; ++i) {
    if (codes[i] === before[i]) continue;
    const x = Math.floor((Math.floor(i / filters) * columns) / inputs);
    flips[Math.floor(((i % filters) * rows) / filters) * columns + x] += 1;
  }
  paint(canvas, columns, rows, (x, y) => {
    const count = flips[y * columns + x];
    return count === 0 ? colours.zero : mix(colours.zero, colours.flip, Math.min(1, 0.5 + count / 4));
  });
}
