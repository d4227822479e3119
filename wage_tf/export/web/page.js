/* The page: what is drawn goes into the network, what comes out is shown, and a label makes it learn. */

const RATES = [-3, -2, -1, 0, 1, 2, 3, 4]; // log2
const COUNT = new Intl.NumberFormat("en");
const $ = (id) => document.getElementById(id);

class Page {
  constructor(network, labels) {
    this.network = network;
    this.labels = labels;
    this.fraction = network.plan.scores.fraction;
    this.kernels = network.plan.parameters.filter((parameter) => parameter.codes);
    this.weights = this.kernels.reduce((sum, kernel) => sum + product(kernel.shape), 0);
    this.drawing = new Drawing($("image"), $("cursor"), network.plan.shape, (finished) => this.#changed(finished));
    this.examples = [];
    this.current = null; // the example that the drawing is
    this.earlier = null; // its scores before the last step
    this.history = [];
    this.#remember();
    this.#build();
    this.#listen();
    this.#look(true);
    this.#showWeights();
  }

  // What is there from the start

  #build() {
    const { plan } = this.network;
    const [height, width, channels] = plan.shape;
    const grey = channels === 1;
    $("image").setAttribute("aria-label", `The image, ${width} by ${height} pixels, ${grey ? "grey" : "colour"}`);
    $("image").classList.toggle("fixed", !grey);
    $("centre").hidden = !grey;
    $("image-help").textContent = grey
      ? `${width} by ${height} pixels, as the network sees them. Draw, or drop, paste or open an image. With keys: arrows ` +
        "move the pen, the space bar puts it down and lifts it, Delete clears."
      : `${width} by ${height} pixels, as the network sees them. Drop, paste or open an image.`;
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
    this.pictures = this.kernels.map(({ name }) => {
      const shown = figure($("weights"), name.slice(0, name.lastIndexOf("/")));
      return { ...shown, flipped: shown.caption.parentNode.appendChild(element("span")) };
    });
  }

  #activationFigure(tensor) {
    const shown = figure($("activations"), tensor.name);
    const [height, width] = tensor.shape;
    const reading = shown.figure.appendChild(element("output"));
    shown.canvas.addEventListener("pointermove", (event) => {
      const box = shown.canvas.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * shown.canvas.width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * shown.canvas.height);
      const at = activationAt(tensor, x, y);
      reading.textContent = at === null ? "" : `${at.text}: code ${this.network.values(tensor)[at.index]}`;
    });
    shown.canvas.addEventListener("pointerleave", () => (reading.textContent = ""));
    shown.range = `${width > 1 || height > 1 ? tensor.shape.join(" × ") : tensor.shape[2]}, codes ${tensor.signed ? -tensor.largest : 0} to ${tensor.largest}`;
    return { tensor, ...shown };
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
      this.learn();
    });
    $("restore").addEventListener("click", () => this.#restore());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#look(false);
      this.#showWeights();
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
    for (const { tensor, canvas, caption, range } of this.activations) {
      const values = this.network.values(tensor);
      paintActivation(canvas, values, tensor);
      const zeros = values.reduce((count, value) => count + (value === 0), 0);
      caption.textContent = ` ${range}; ${Math.round((100 * zeros) / values.length)}% are zero`;
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
    if (this.current === null || this.current.label !== label) this.#keep(label);
    const batch = $("replay").checked ? this.examples : [this.current];
    this.#remember();
    const began = performance.now();
    const scores = this.network.learn(
      batch.map(({ pixels }) => pixels),
      batch.map((example) => example.label),
      Number($("rate").value),
    );
    this.stepTime = performance.now() - began;
    this.stepImages = batch.length;
    this.earlier = scores[batch.indexOf(this.current)];
    this.#judge();
    this.#look(true);
    const flips = this.#showWeights();
    $("restore").disabled = false;
    $("outcome").textContent =
      `Step ${this.network.step}, on ${batch.length} ${batch.length === 1 ? "image" : "images"}: ` +
      `${COUNT.format(flips)} of ${COUNT.format(this.weights)} weights flipped. ` +
      compared(this.labels[largest(this.earlier)], this.labels[this.current.answer]);
  }

  #keep(label) {
    this.examples = this.examples.filter((example) => example !== this.current);
    this.current = { pixels: this.drawing.pixels.slice(), label };
    this.examples = [...this.examples, this.current].slice(-this.network.plan.batch);
  }

  /** The network's answers to all examples, and their error. */
  #judge() {
    const scores = this.network.infer(this.examples.map(({ pixels }) => pixels));
    scores.forEach((codes, index) => (this.examples[index].answer = largest(codes)));
    const wrong = this.examples.filter(({ answer, label }) => answer !== label).length;
    this.history.push(wrong / this.examples.length);
    this.#showExamples(wrong);
  }

  #restore() {
    this.network.restore();
    this.history = [];
    this.examples = [];
    this.current = null;
    this.earlier = this.exported = null;
    this.#remember();
    this.#showExamples(0);
    this.#look(true);
    this.#showWeights();
    $("restore").disabled = true;
    $("outcome").textContent = "The exported weights are back; the drawn examples are gone.";
  }

  #remember() {
    this.before = this.kernels.map(({ name }) => this.network.codes(name));
    this.exported ??= this.before;
  }

  // What is shown of it

  #showExamples(wrong) {
    const count = this.examples.length;
    $("error").textContent = count ? `: ${wrong} of ${count} wrong, ${Math.round((100 * wrong) / count)}%` : "";
    $("examples").replaceChildren(
      ...this.examples.map((example) => {
        const { pixels, label, answer } = example;
        const item = element("li");
        const button = item.appendChild(Object.assign(element("button"), { type: "button" }));
        const canvas = button.appendChild(element("canvas"));
        const [height, width, channels] = this.network.plan.shape;
        Object.assign(canvas, { width, height });
        paintPixels(canvas, pixels, channels);
        const text = answer === label ? `${this.labels[label]} ✓` : `${this.labels[label]} ✗ ${this.labels[answer]}`;
        button.append(element("span", "", text));
        button.classList.toggle("wrong", answer !== label);
        button.setAttribute("aria-label", `Bring back ${this.labels[label]}, taken for ${this.labels[answer]}`);
        button.addEventListener("click", () => {
          this.drawing.set(pixels);
          this.current = example;
          document.querySelector(`input[name="label"][value="${label}"]`).checked = true;
        });
        return item;
      }),
    );
    this.#showHistory();
  }

  #showHistory() {
    const steps = this.history.slice(-60);
    const svg = $("history");
    $("trend").hidden = steps.length === 0;
    svg.setAttribute("viewBox", `0 0 ${steps.length} 12`);
    svg.style.width = `${0.6 * steps.length}rem`;
    svg.replaceChildren(
      ...steps.flatMap((share, index) => {
        const [whole, wrong] = [rectangle(index, 0, 12), rectangle(index, 12 - 12 * share, 12 * share)];
        wrong.classList.add("wrong");
        return [whole, wrong];
      }),
    );
  }

  /** Pictures and counts of all kernels; returns how many weights flipped in the last step. */
  #showWeights() {
    let all = 0;
    this.kernels.forEach((kernel, index) => {
      const codes = this.network.codes(kernel.name);
      const { canvas, caption, flipped } = this.pictures[index];
      const flips = differing(codes, this.before[index]);
      all += flips;
      paintKernel(canvas, kernel, codes, this.before[index], this.exported[index]);
      const since = differing(codes, this.exported[index]);
      caption.textContent = `${kernel.shape.join(" × ")}, ${kernel.width} bits: ${signs(codes, kernel.width)}`;
      flipped.textContent = `${COUNT.format(flips)} flipped in the last step, ${COUNT.format(since)} since the export`;
    });
    return all;
  }

  #showTimes() {
    const step = this.stepTime ? `, the last step on ${this.stepImages} ${this.stepTime.toFixed(0)} ms` : "";
    $("times").textContent = `Here an image takes ${this.inferenceTime.toFixed(1)} ms${step}.`;
  }
}

function element(tag, name = "", text = "") {
  return Object.assign(document.createElement(tag), { className: name, textContent: text });
}

function rectangle(x, y, height) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ x, y, width: 0.8, height })) made.setAttribute(name, value);
  return made;
}

function figure(parent, name) {
  const made = parent.appendChild(element("figure"));
  const head = made.appendChild(element("figcaption"));
  head.append(element("b", "", name));
  const caption = head.appendChild(element("span"));
  const canvas = made.appendChild(element("canvas"));
  return { figure: made, caption, canvas };
}

function largest(codes) {
  return codes.indexOf(Math.max(...codes));
}

function differing(codes, others) {
  return codes.reduce((count, code, i) => count + (code !== others[i]), 0);
}

/** How many weights have which sign; of one or two bits that is all that they have. */
function signs(codes, width) {
  const names = width > 2 ? ["below zero", "zero", "above"] : ["−1", "0", "+1"];
  const counts = [-1, 0, 1].map((sign) => codes.reduce((count, code) => count + (Math.sign(code) === sign), 0));
  return counts.map((count, i) => `${COUNT.format(count)}\u00a0${width > 2 ? "" : "×\u00a0"}${names[i]}`).join(", ");
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
