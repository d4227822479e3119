/* The network's kernels, and which of their weights flipped. */

class Weights {
  constructor(network) {
    this.network = network;
    this.kernels = network.plan.parameters
      .filter((parameter) => parameter.codes)
      .map((kernel) => ({ kernel, ...figure($("weights"), kernel.name.slice(0, kernel.name.lastIndexOf("/"))) }));
    this.count = this.kernels.reduce((sum, { kernel }) => sum + product(kernel.shape), 0);
    this.begin();
  }

  /** The weights as they are now count as the exported ones. */
  begin() {
    this.remember();
    this.exported = this.before;
    this.show();
  }

  /** Called before a step: what differs from now on has flipped in it. */
  remember() {
    this.before = this.kernels.map(({ kernel }) => this.network.codes(kernel.name));
  }

  /** Draws all kernels; returns how many weights flipped in the last step. */
  show() {
    const flips = this.kernels.map((shown, index) => this.#show(shown, this.before[index], this.exported[index]));
    return flips.reduce((sum, count) => sum + count, 0);
  }

  #show({ kernel, canvas, lines }, before, exported) {
    const codes = this.network.codes(kernel.name);
    const [flips, since] = [differing(codes, before), differing(codes, exported)];
    paintKernel(canvas, kernel, codes, before, exported);
    lines[0].textContent = `${kernel.shape.join(" × ")}, ${kernel.width} bits: ${signs(codes, kernel.width)}`;
    lines[1].textContent = `${COUNT.format(flips)} flipped in the last step, ${COUNT.format(since)} since the export`;
    return flips;
  }
}

/** How many weights have which sign, which is all there is to a weight of one or two bits. */
function signs(codes, width) {
  const names = width > 2 ? ["below\u00a0zero", "zero", "above"] : ["×\u00a0−1", "×\u00a00", "×\u00a0+1"];
  const counts = [-1, 0, 1].map((sign) => codes.reduce((count, code) => count + (Math.sign(code) === sign), 0));
  return counts.map((count, i) => `${COUNT.format(count)}\u00a0${names[i]}`).join(", ");
}
