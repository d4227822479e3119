/*
 * A network in WebAssembly's memory. The export laid its tables and weights out (layout.py); the module, which is the
 * library's C runtime, does all arithmetic, on integers. This file copies bytes in and reads codes.
 */

const ARRAYS = { int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array };
const MEMORY_PAGE = 65536;
const RANDOM_WIDTH = 16;

const product = (sizes) => sizes.reduce((size, count) => size * count, 1);

class Network {
  /**
   * @param {Uint8Array} module The runtime, WebAssembly.
   * @param {Uint8Array} image What the memory holds from plan.base on.
   * @param {object} plan Sizes, addresses, tensors and parameters.
   */
  static async open(module, image, plan) {
    const { instance } = await WebAssembly.instantiate(module, {});
    return new Network(instance.exports, image, plan);
  }

  constructor(runtime, image, plan) {
    if (runtime.__heap_base.value > plan.base) throw new Error("the image lies on the module's own data");
    this.runtime = runtime;
    this.image = image;
    this.plan = plan;
    this.seed = 0;
    const { memory } = runtime;
    memory.grow(Math.max(0, Math.ceil((plan.end - memory.buffer.byteLength) / MEMORY_PAGE)));
    this.restore();
  }

  /** Puts the exported weights back; the next step is step 0. */
  restore() {
    const { plan, runtime } = this;
    new Uint8Array(runtime.memory.buffer, plan.base, this.image.length).set(this.image);
    runtime.wage_start(plan.places.net, plan.places.state);
    this.step = 0;
  }

  get size() {
    return product(this.plan.shape);
  }

  get classes() {
    return product(this.plan.scores.shape);
  }

  /** Scores' codes of 1 to plan.batch images: an array of numbers each. */
  infer(images) {
    const { net, state, team } = this.plan.places;
    this.#put(images);
    check(this.runtime.wage_infer(net, state, this.plan.places.images, images.length, team));
    return this.#scores(images.length);
  }

  /** One training step at the rate 2^log2Rate on 1 to plan.batch images; returns the scores before it. */
  learn(images, labels, log2Rate) {
    const { net, state, team } = this.plan.places;
    this.#put(images);
    this.#array("int32", this.plan.places.labels, labels.length).set(labels);
    const words = { log2_eta: log2Rate, random_width: RANDOM_WIDTH, seed: this.seed, step: this.step };
    for (const [name, word] of Object.entries(words)) this.#array("int32", this.plan.rate[name], 1)[0] = word;
    const { images: at, labels: labelsAt } = this.plan.places;
    check(this.runtime.wage_train_step(net, state, at, labelsAt, images.length, team));
    this.step += 1;
    return this.#scores(images.length);
  }

  /** The codes of a tensor of the plan, of image `index` in the last call: dense, height by width by channels. */
  values(tensor, index = 0) {
    const [height, width, channels] = tensor.shape;
    const all = this.#array(tensor.type, tensor.at, (index + 1) * tensor.image);
    const dense = new Float64Array(height * width * channels);
    for (let y = 0, to = 0; y < height; ++y) {
      const from = index * tensor.image + y * tensor.row;
      for (let i = 0; i < width * channels; ++i) dense[to++] = Number(all[from + i]);
    }
    return dense;
  }

  /** A copy of a parameter's codes; a bias is its own code. */
  codes(name) {
    const parameter = this.#parameter(name);
    return this.#copy(parameter.codes ?? parameter.stored, parameter.shape);
  }

  /** A copy of a parameter's stored weights, null where it is not trained. */
  stored(name) {
    const parameter = this.#parameter(name);
    return parameter.stored && this.#copy(parameter.stored, parameter.shape);
  }

  #parameter(name) {
    return this.plan.parameters.find((parameter) => parameter.name === name);
  }

  #copy({ type, at }, shape) {
    return this.#array(type, at, product(shape)).slice();
  }

  #scores(count) {
    return Array.from({ length: count }, (_, index) => this.values(this.plan.scores, index));
  }

  #put(images) {
    if (images.length > this.plan.batch) throw new Error(`at most ${this.plan.batch} images at once`);
    const pixels = new Uint8Array(this.runtime.memory.buffer, this.plan.places.images, images.length * this.size);
    images.forEach((image, index) => pixels.set(image, index * this.size));
  }

  #array(type, at, length) {
    return new ARRAYS[type](this.runtime.memory.buffer, at, length);
  }
}

function check(status) {
  if (status !== 0) throw new Error(`the runtime refused: status ${status}`);
}
