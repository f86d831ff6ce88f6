// A small chart of the last minute, one point per second. It is drawn once a second and not animated.

const svg = "http://www.w3.org/2000/svg";
const span = 60; // points
const width = span - 1;
const height = 100;

export class Chart {
  constructor(parent, label) {
    this.values = [];
    const root = element(parent, "svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
    element(root, "line", { class: "base", x1: 0, x2: width, y1: height, y2: height });
    this.area = element(root, "path", { class: "area" });
    this.stroke = element(root, "path", { class: "stroke" });
  }

  push(value) {
    this.values.push(value);
    this.values.splice(0, this.values.length - span);
  }

  get max() {
    return Math.max(0, ...this.values);
  }

  // draw takes the scale from outside, so that charts side by side can share one. What was before the first second is left empty.
  draw(max) {
    const top = niceCeiling(max);
    const first = span - this.values.length;
    const line = this.values.map((v, i) => `${first + i} ${(height * (1 - v / top)).toFixed(2)}`).join("L");
    this.stroke.setAttribute("d", `M${line}`);
    this.area.setAttribute("d", `M${first} ${height}L${line}L${width} ${height}Z`);
  }
}

// niceCeiling is the next of 1, 2, 5, 10, 20 ... with some air above, so that the scale does not jump with every message.
function niceCeiling(max) {
  const wanted = Math.max(max * 1.15, 4);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted);
}

// element adds one of SVG to parent.
export function element(parent, name, attributes) {
  const e = document.createElementNS(svg, name);
  for (const [key, value] of Object.entries(attributes)) {
    e.setAttribute(key, value);
  }
  return parent.appendChild(e);
}
