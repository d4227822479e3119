/* The page: what is drawn goes into the network, what comes out is shown, and a label makes it learn. */

const RATES = [-3, -2, -1, 0, 1, 2, 3, 4]; // log2

class Page {
  constructor(network, labels) {
    this.network = network;
    this.labels = labels;
    this.fraction = network.plan.scores.fraction;
    this.weights = new Weights(network);
    this.examples = new Examples(network, labels, (example) => this.#bringBack(example));
    this.drawing = new Drawing($("image"), $("cursor"), network.plan.shape, (finished) => this.#changed(finished));
    this.current = null; // the example that the drawing is
    this.earlier = null; // its scores before the last step
    this.#build();
    this.#listen();
    this.#look(true);
  }

  // What is there from the start

  #build() {
    const { plan } = this.network;
    const [height, width, channels] = plan.shape;
    const grey = channels === 1;
    $("image").setAttribute("aria-label", `The image, ${width} by ${height} pixels, ${grey ? "grey" : "colour"}`);
    $("image").classList.toggle("fixed", !grey);
    $("image").setAttribute("role", grey ? "application" : "img");
    if (!grey) $("image").removeAttribute("tabindex");
    $("centre").hidden = !grey;
    const help = grey
      ? "Draw, or drop, paste or open an image. With keys: arrows move the pen, the space bar puts it down and lifts it, " +
        "Delete clears."
      : "Drop, paste or open an image.";
    $("image-help").textContent = `${width} by ${height} pixels, as the network sees them. ${help}`;
    this.rows = this.labels.map((label) => {
      const row = $("scores").appendChild(element("li"));
      row.append(element("span", "name", label), element("span", "bar"), element("span", "code"));
      row.children[1].append(element("i"), element("b"));
      row.children[0].title = label;
      return row;
    });
    if (Math.max(...this.labels.map((label) => label.length)) > 4) $("labels").style.setProperty("--label", "6.5rem");
    this.labels.forEach((label, index) => {
      const choice = $("labels").appendChild(element("label"));
      const input = Object.assign(element("input"), { type: "radio", name: "label", value: index });
      choice.append(input, label);
    });
    for (const rate of RATES) {
      const text = rate < 0 ? `1/${2 ** -rate}` : `${2 ** rate}`;
      $("rate").append(new Option(text, rate, rate === 0, rate === 0));
    }
    this.activations = plan.activations.map((tensor) => this.#activationFigure(tensor));
  }

  #activationFigure(tensor) {
    const shown = figure($("activations"), tensor.name);
    const size = (tensor.shape[0] * tensor.shape[1] > 1 ? tensor.shape : tensor.shape.slice(2)).join(" × ");
    const reading = shown.figure.appendChild(element("output"));
    shown.canvas.addEventListener("pointermove", (event) => {
      const box = shown.canvas.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * shown.canvas.width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * shown.canvas.height);
      const at = activationAt(tensor, x, y);
      reading.textContent = at === null ? "" : `${at.text}: code ${this.network.values(tensor)[at.index]}`;
    });
    shown.canvas.addEventListener("pointerleave", () => (reading.textContent = ""));
    const range = `${size}, codes ${tensor.signed ? -tensor.largest : 0} to ${tensor.largest}`;
    return { tensor, range, ...shown };
  }

  #listen() {
    $("clear").addEventListener("click", () => this.drawing.clear());
    $("centre").addEventListener("click", () => this.drawing.centre());
    $("invert").addEventListener("click", () => this.drawing.invert());
    $("open").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => {
      this.#read($("file").files[0]);
      $("file").value = "";
    });
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.querySelector(".paper").classList.add("over");
    });
    for (const end of ["dragleave", "drop"]) {
      document.addEventListener(end, () => document.querySelector(".paper").classList.remove("over"));
    }
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#read(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => this.#read(event.clipboardData.files[0]));
    $("learn").addEventListener("change", () => this.#ready());
    $("learn").addEventListener("submit", (event) => {
      event.preventDefault();
      try {
        this.learn();
      } catch (error) {
        $("outcome").textContent = `No step: ${error.message}.`;
      }
    });
    $("restore").addEventListener("click", () => this.#restore());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#look(false);
      this.weights.show();
    });
  }

  // The image

  async #read(file) {
    if (!file) return;
    try {
      await this.drawing.load(file);
    } catch {
      $("verdict").textContent = `${file.name} is no image that this browser reads.`;
    }
  }

  #changed(finished) {
    this.current = null;
    this.earlier = null;
    if (this.waiting && !finished) return;
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.#look(finished);
    });
  }

  /** Infers, and shows scores and activations. */
  #look(finished) {
    const began = performance.now();
    const [scores] = this.network.infer([this.drawing.pixels]);
    this.inferenceTime = performance.now() - began;
    const best = largest(scores);
    this.rows.forEach((row, index) => {
      const [bar, mark] = row.children[1].children;
      const [from, to] = [this.#place(0), this.#place(scores[index])];
      bar.style.left = `${Math.min(from, to)}%`;
      bar.style.width = `${Math.abs(to - from)}%`;
      bar.classList.toggle("below", to < from);
      mark.hidden = this.earlier === null;
      if (this.earlier) mark.style.left = `calc(${this.#place(this.earlier[index])}% - 1px)`;
      row.classList.toggle("best", index === best && !this.drawing.isEmpty);
      row.children[2].textContent = scores[index];
    });
    for (const { tensor, canvas, lines, range } of this.activations) {
      const values = this.network.values(tensor);
      paintActivation(canvas, values, tensor);
      const zeros = values.reduce((count, value) => count + (value === 0), 0);
      lines[0].textContent = `${range}; ${Math.round((100 * zeros) / values.length)}% are zero`;
    }
    if (finished) {
      $("verdict").textContent = this.drawing.isEmpty
        ? "Nothing drawn yet."
        : `It says ${this.labels[best]}, with code ${scores[best]}.`;
    }
    this.#showTimes();
    this.#ready();
  }

  /** Where a score's code lies on its bar, in percent: from −¼ to 1. */
  #place(code) {
    return 20 + 80 * Math.min(Math.max(code / 2 ** this.fraction, -0.25), 1);
  }

  // Learning

  #ready() {
    $("step").disabled = this.drawing.isEmpty || !this.#chosen();
  }

  #chosen() {
    return document.querySelector('input[name="label"]:checked');
  }

  /** One training step on the drawing, or on it and the examples before it. */
  learn() {
    const label = Number(this.#chosen().value);
    if (this.current?.label !== label) {
      this.current = this.examples.add(this.drawing.pixels, label, this.current);
    }
    const batch = $("replay").checked ? this.examples.all : [this.current];
    this.weights.remember();
    const began = performance.now();
    const scores = this.network.learn(
      batch.map(({ pixels }) => pixels),
      batch.map((example) => example.label),
      Number($("rate").value),
    );
    this.stepTime = performance.now() - began;
    this.stepImages = batch.length;
    this.earlier = scores[batch.indexOf(this.current)];
    this.examples.judge();
    this.#look(true);
    const flips = this.weights.show();
    $("restore").disabled = false;
    $("outcome").textContent =
      `Step ${this.network.step}, on ${batch.length} ${batch.length === 1 ? "image" : "images"}: ` +
      `${COUNT.format(flips)} of ${COUNT.format(this.weights.count)} weights flipped. ` +
      compared(this.labels[largest(this.earlier)], this.labels[this.current.answer]);
  }

  #restore() {
    this.network.restore();
    this.examples.forget();
    this.weights.begin();
    this.current = this.earlier = null;
    this.#look(true);
    $("restore").disabled = true;
    $("outcome").textContent = "The exported weights are back; the drawn examples are gone.";
  }

  #bringBack(example) {
    this.drawing.set(example.pixels);
    this.current = example;
    document.querySelector(`input[name="label"][value="${example.label}"]`).checked = true;
  }

  #showTimes() {
    const step = this.stepTime ? `, the last step on ${this.stepImages} ${this.stepTime.toFixed(0)} ms` : "";
    $("times").textContent = `Here an image takes ${this.inferenceTime.toFixed(1)} ms${step}.`;
  }
}

function compared(before, now) {
  return before === now ? `It says ${now}, as before.` : `It said ${before} before and says ${now} now.`;
}

function bytes(id) {
  return Uint8Array.from(atob($(id).textContent), (character) => character.charCodeAt(0));
}

async function inflate(content) {
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

try {
  const { labels, ...plan } = JSON.parse($("plan").textContent);
  const network = await Network.open(bytes("module"), await inflate(bytes("memory")), plan);
  globalThis.wage = { network, page: new Page(network, labels) };
} catch (error) {
  $("problem").hidden = false;
  $("problem").textContent = `This page cannot start here: ${error.message}`;
}
