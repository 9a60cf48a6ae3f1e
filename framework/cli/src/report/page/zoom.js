// Zoom: drag across a chart for a part of it, double-click for the whole. Everything else works without this script.
"use strict";
for (const chart of document.querySelectorAll("svg.chart")) {
  const plot = chart.querySelector("svg.plot");
  if (!plot) continue;
  chart.classList.add("can-zoom");
  const home = plot.getAttribute("viewBox").split(" ").map(Number);
  const log = plot.dataset.log === "1", inner = v => log ? Math.log(v) : v;
  const [xLow, xHigh] = plot.dataset.x.split(" ").map(v => inner(Number(v)));
  const [yLow, yHigh] = plot.dataset.y.split(" ").map(Number);
  const frame = { tx: chart.querySelector("g.tx"), ty: chart.querySelector("g.ty") };
  const first = { tx: frame.tx.innerHTML, ty: frame.ty.innerHTML };
  const word = frame.tx.querySelector("text"), level = frame.ty.querySelector("text"), line = frame.ty.querySelector("line");

  // Round numbers from low to high, about `most` of them, with the decimals that they need.
  function ticks(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(digit => digit * power).find(step => step >= rough);
    const decimals = Math.max(0, -Math.floor(Math.log10(step * 1.001))), found = [];
    for (let n = Math.ceil(low / step); n * step <= high; n++) found.push([n * step, (n * step).toFixed(decimals)]);
    return found;
  }

  function show([x, y, width, height]) {
    plot.setAttribute("viewBox", [x, y, width, height].join(" "));
    const whole = width === home[2] && height === home[3];
    chart.classList.toggle("zoomed", !whole);
    if (whole) { frame.tx.innerHTML = first.tx; frame.ty.innerHTML = first.ty; return; }
    const value = at => { const v = xLow + (at - home[0]) / home[2] * (xHigh - xLow); return log ? Math.exp(v) : v; };
    const height_of = at => yHigh - (at - home[1]) / home[3] * (yHigh - yLow);
    const [low, high, bottom, top] = [value(x), value(x + width), height_of(y + height), height_of(y)];
    frame.tx.replaceChildren(...ticks(low, high, 6).map(([tick, label]) => {
      const text = word.cloneNode(), share = (inner(tick) - inner(low)) / (inner(high) - inner(low));
      text.setAttribute("x", home[0] + share * home[2]); text.textContent = label; return text;
    }));
    frame.ty.replaceChildren(...ticks(bottom, top, 5).flatMap(([tick, label]) => {
      const at = home[1] + (top - tick) / (top - bottom) * home[3], text = level.cloneNode(), rule = line.cloneNode();
      text.setAttribute("y", at + 4); text.textContent = label; rule.setAttribute("y1", at); rule.setAttribute("y2", at);
      return [rule, text];
    }));
  }

  let from = null, box = null;
  const spot = event => {
    const v = plot.getAttribute("viewBox").split(" ").map(Number);
    const matrix = chart.getScreenCTM(), point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const share = [(point.x - home[0]) / home[2], (point.y - home[1]) / home[3]].map(s => Math.min(1, Math.max(0, s)));
    return [v[0] + share[0] * v[2], v[1] + share[1] * v[3]];
  };
  plot.addEventListener("pointerdown", event => {
    from = spot(event);
    box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    box.setAttribute("fill", "var(--s0)"); box.setAttribute("fill-opacity", "0.12");
    plot.append(box); plot.setPointerCapture(event.pointerId); event.preventDefault();
  });
  const corner = to => [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
  plot.addEventListener("pointermove", event => {
    if (!from) return;
    ["x", "y", "width", "height"].forEach((name, n) => box.setAttribute(name, corner(spot(event))[n]));
  });
  const end = event => {
    if (!from) return;
    const area = corner(spot(event));
    from = null; box.remove();
    if (event.type === "pointerup" && area[2] > home[2] * 0.01 && area[3] > home[3] * 0.01) show(area);
  };
  plot.addEventListener("pointerup", end);
  plot.addEventListener("pointercancel", end);
  chart.addEventListener("dblclick", () => show(home));
}
document.querySelectorAll(".needs-script").forEach(hint => { hint.style.display = "inline"; });
