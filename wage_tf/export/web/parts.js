/* Small pieces that the page is built of. */

const COUNT = new Intl.NumberFormat("en");
const $ = (id) => document.getElementById(id);

function element(tag, name = "", text = "") {
  return Object.assign(document.createElement(tag), { className: name, textContent: text });
}

/** A canvas with its name and one line or two of caption. */
function figure(parent, name) {
  const made = parent.appendChild(element("figure"));
  const head = made.appendChild(element("figcaption"));
  head.append(element("b", "", name));
  const lines = [0, 1].map(() => head.appendChild(element("span")));
  return { figure: made, lines, canvas: made.appendChild(element("canvas")) };
}

/** The class of the largest score, the first of several. */
function largest(scores) {
  return scores.indexOf(Math.max(...scores));
}

function differing(codes, others) {
  return codes.reduce((count, code, i) => count + (code !== others[i]), 0);
}
