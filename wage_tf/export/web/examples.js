/* What was drawn so far with its right labels, and how much of it the network gets wrong. */

const SHOWN_STEPS = 60;

class Examples {
  /**
   * @param {Network} network
   * @param {string[]} labels Names of the classes.
   * @param {(example: object) => void} chosen Called with an example that is to be the image again.
   */
  constructor(network, labels, chosen) {
    this.network = network;
    this.labels = labels;
    this.chosen = chosen;
    this.forget();
  }

  /** Drops all of them. */
  forget() {
    this.all = []; // { pixels, label, answer }, the oldest first
    this.errors = []; // share of wrong answers after each step
    this.#show();
  }

  /** Adds an image in place of an example, or of none; the oldest goes where a step takes no more. */
  add(pixels, label, instead) {
    const example = { pixels: pixels.slice(), label };
    this.all = [...this.all.filter((other) => other !== instead), example].slice(-this.network.plan.batch);
    return example;
  }

  /** Asks the network for all of them again. */
  judge() {
    const scores = this.network.infer(this.all.map(({ pixels }) => pixels));
    scores.forEach((codes, index) => (this.all[index].answer = largest(codes)));
    this.errors.push(this.#wrong / this.all.length);
    this.#show();
  }

  get #wrong() {
    return this.all.filter(({ answer, label }) => answer !== label).length;
  }

  #show() {
    const [count, wrong] = [this.all.length, this.#wrong];
    $("error").textContent = count ? `: ${wrong} of ${count} wrong, ${Math.round((100 * wrong) / count)}%` : "";
    $("examples").replaceChildren(...this.all.map((example) => this.#item(example)));
    this.#showErrors();
  }

  #item(example) {
    const { pixels, label, answer } = example;
    const [height, width, channels] = this.network.plan.shape;
    const [right, given] = [this.labels[label], this.labels[answer]];
    const item = element("li");
    const button = item.appendChild(Object.assign(element("button"), { type: "button" }));
    const canvas = button.appendChild(Object.assign(element("canvas"), { width, height }));
    paintPixels(canvas, pixels, channels);
    button.append(element("span", "", answer === label ? `${right} ✓` : `${right} ✗ ${given}`));
    button.classList.toggle("wrong", answer !== label);
    button.setAttribute("aria-label", `Bring back this ${right}, taken for ${given}`);
    button.addEventListener("click", () => this.chosen(example));
    return item;
  }

  #showErrors() {
    const steps = this.errors.slice(-SHOWN_STEPS);
    $("trend").hidden = steps.length === 0;
    $("history").setAttribute("viewBox", `0 0 ${steps.length} 1`);
    $("history").style.width = `${0.6 * steps.length}rem`;
    const bars = steps.flatMap((wrong, step) => [bar("", step, 0, 1), bar("wrong", step, 1 - wrong, wrong)]);
    $("history").replaceChildren(...bars);
  }
}

function bar(name, x, y, height) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({ class: name, x, y, width: 0.8, height })) made.setAttribute(key, value);
  return made;
}
