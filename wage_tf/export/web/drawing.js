/* The image that goes into the network: drawn by pointer or keys, or read from a file. What is seen is what goes in. */

const LUMA = [77, 150, 29]; // in 256ths: their sum, so that grey stays what it is

class Drawing {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} cursor Shows the pixel where the keyboard's pen is.
   * @param {number[]} shape Height, width, channels: 1 for grey, which can be drawn, or 3.
   * @param {(finished: boolean) => void} changed Called after each change, true at the end of a stroke.
   */
  constructor(canvas, cursor, shape, changed) {
    [this.height, this.width, this.channels] = shape;
    this.canvas = canvas;
    this.cursor = cursor;
    this.changed = changed;
    this.pixels = new Uint8Array(this.height * this.width * this.channels);
    this.radius = Math.max(0.75, Math.min(this.height, this.width) / 24);
    this.pen = { x: this.width >> 1, y: this.height >> 1, down: false };
    canvas.width = this.width;
    canvas.height = this.height;
    canvas.style.aspectRatio = `${this.width} / ${this.height}`;
    if (this.channels === 1) this.#listen();
    this.#show();
  }

  get isEmpty() {
    return this.pixels.every((pixel) => pixel === 0);
  }

  set(pixels) {
    this.pixels = Uint8Array.from(pixels);
    this.#show();
    this.changed(true);
  }

  clear() {
    this.set(new Uint8Array(this.pixels.length));
  }

  invert() {
    this.set(this.pixels.map((pixel) => 255 - pixel));
  }

  /** Moves the drawing so that its centre of mass lies in the middle, as MNIST's images do; grey only. */
  centre() {
    let [mass, x, y] = [0, 0, 0];
    this.pixels.forEach((pixel, i) => {
      mass += pixel;
      x += pixel * (i % this.width);
      y += pixel * Math.floor(i / this.width);
    });
    if (mass === 0) return;
    const right = Math.round((this.width - 1) / 2 - x / mass);
    const down = Math.round((this.height - 1) / 2 - y / mass);
    const moved = new Uint8Array(this.pixels.length);
    this.pixels.forEach((pixel, i) => {
      const [tx, ty] = [(i % this.width) + right, Math.floor(i / this.width) + down];
      if (tx >= 0 && tx < this.width && ty >= 0 && ty < this.height) moved[ty * this.width + tx] = pixel;
    });
    this.set(moved);
  }

  /** Reads an image file, scaled to fit; one of the network's own size comes in pixel for pixel. */
  async load(file) {
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
    const scale = Math.min(this.width / bitmap.width, this.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    const context = new OffscreenCanvas(this.width, this.height).getContext("2d", { willReadFrequently: true });
    context.fillRect(0, 0, this.width, this.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (this.width - width) / 2, (this.height - height) / 2, width, height);
    const { data } = context.getImageData(0, 0, this.width, this.height);
    this.set(
      this.pixels.map((_, i) => {
        if (this.channels === 3) return data[Math.floor(i / 3) * 4 + (i % 3)];
        return (LUMA.reduce((sum, part, channel) => sum + part * data[4 * i + channel], 0) + 128) >> 8;
      }),
    );
  }

  #listen() {
    const { canvas } = this;
    let last = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * this.width - 0.5;
      return { x, y: ((event.clientY - box.top) / box.height) * this.height - 0.5 };
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      last = place(event);
      this.#stroke(last, last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      for (const moved of event.getCoalescedEvents?.() ?? [event]) {
        const to = place(moved);
        this.#stroke(last, to);
        last = to;
      }
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        if (last) this.changed(true);
        last = null;
      });
    }
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => this.#moveCursor());
  }

  #key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { pen } = this;
    const from = { x: pen.x, y: pen.y };
    if (event.key in steps) {
      const [right, down] = steps[event.key];
      pen.x = Math.min(Math.max(pen.x + right, 0), this.width - 1);
      pen.y = Math.min(Math.max(pen.y + down, 0), this.height - 1);
    } else if (event.key === " ") {
      pen.down = !pen.down;
    } else if (event.key === "Delete" || event.key === "Backspace") {
      pen.down = false;
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.#moveCursor();
    if (!pen.down) return;
    this.#stroke(from, pen);
    this.changed(true);
  }

  #moveCursor() {
    const { pen, cursor } = this;
    cursor.classList.toggle("down", pen.down);
    cursor.style.left = `${(100 * pen.x) / this.width}%`;
    cursor.style.top = `${(100 * pen.y) / this.height}%`;
    cursor.style.width = `${100 / this.width}%`;
    cursor.style.height = `${100 / this.height}%`;
  }

  /** A line with round ends and an edge one pixel soft. */
  #stroke(from, to) {
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy;
    this.pixels.forEach((pixel, i) => {
      const [x, y] = [(i % this.width) - from.x, Math.floor(i / this.width) - from.y];
      const along = length === 0 ? 0 : Math.min(Math.max((x * dx + y * dy) / length, 0), 1);
      const distance = Math.hypot(x - along * dx, y - along * dy);
      const ink = Math.round(255 * Math.min(Math.max(this.radius + 0.5 - distance, 0), 1));
      if (ink > pixel) this.pixels[i] = ink;
    });
    this.#show();
    this.changed(false);
  }

  #show() {
    paintPixels(this.canvas, this.pixels, this.channels);
  }
}

/** Pixels into a canvas of the image's own size. */
function paintPixels(canvas, pixels, channels) {
  const image = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; ++i) {
    for (let c = 0; c < 3; ++c) image.data[4 * i + c] = pixels[channels === 3 ? 3 * i + c : i];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
