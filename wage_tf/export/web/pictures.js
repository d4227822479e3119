/* Codes and weights as pictures, a pixel each. Zero has the quietest colour; the larger a code the stronger its own. */

const VECTOR_ROW = 64; // codes of a vector side by side
const SHOWN_WEIGHTS = 4096; // kernels with more show where weights flipped
const MAP = [88, 32]; // the most columns and rows of that map
const PICTURE = [352, 168]; // the most pixels of a picture on the page, where it need not be smaller than its codes

/** The colours of the page's scheme. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => {
    const text = style.getPropertyValue(name).trim();
    return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
  };
  const names = ["zero", "positive", "negative", "flip", "past", "gap"];
  return Object.fromEntries(names.map((name) => [name, colour(`--${name}`)]));
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
  canvas.style.width = `${width * Math.max(1, Math.floor(Math.min(PICTURE[0] / width, PICTURE[1] / height)))}px`;
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

/**
 * A kernel: its weights, those in the colour of flips that differ from the codes before the last step. Large ones as a
 * map of these, and of what differs from the exported codes.
 */
function paintKernel(canvas, kernel, codes, before, exported) {
  const colours = palette();
  const filters = kernel.shape.at(-1);
  const inputs = codes.length / filters;
  const largest = Math.max(1, 2 ** (kernel.width - 1) - 1);
  const colour = (i) => (codes[i] === before[i] ? shade(colours, codes[i], largest) : colours.flip);
  if (codes.length > SHOWN_WEIGHTS) {
    paintMap(canvas, [inputs, filters], changes(codes, before, filters), changes(codes, exported, filters), colours);
  } else if (kernel.shape.length === 4) {
    const [height, width, channels] = kernel.shape;
    paintTiles(canvas, [height, width, channels * filters], colours, (y, x, tile) =>
      colour((y * width + x) * channels * filters + tile),
    );
  } else {
    paint(canvas, inputs, filters, (x, y) => colour(x * filters + y));
  }
}

/** Input and filter of every weight that differs. */
function changes(codes, others, filters) {
  const found = [];
  for (let i = 0; i < codes.length; ++i) {
    if (codes[i] !== others[i]) found.push([Math.floor(i / filters), i % filters]);
  }
  return found;
}

function paintMap(canvas, [inputs, filters], last, all, colours) {
  const [columns, rows] = [Math.min(MAP[0], inputs), Math.min(MAP[1], filters)];
  const cell = ([input, filter]) =>
    Math.floor((filter * rows) / filters) * columns + Math.floor((input * columns) / inputs);
  const cells = new Array(columns * rows).fill(colours.zero);
  for (const change of all) cells[cell(change)] = colours.past;
  for (const change of last) cells[cell(change)] = colours.flip;
  paint(canvas, columns, rows, (x, y) => cells[y * columns + x]);
}
