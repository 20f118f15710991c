"use strict";
(() => {
  const text = document.getElementById("text");
  if (!text) return;
  const details = document.getElementById("details");
  const { pieces, cells, tokens, memory } = JSON.parse(document.getElementById("data").textContent);
  const spans = [...text.children];
  let chosen = -1;
  const number = new Map(spans.map((span, index) => [span, index]));
  const add = (parent, tag, content) => {
    const node = document.createElement(tag);
    node.textContent = content;
    parent.append(node);
    return node;
  };
  const percent = (share) => (share >= 0.0995 ? (100 * share).toFixed(0) : (100 * share).toPrecision(2)) + " %";
  const describe = (index) => {
    const [piece, offset, bits, modelBits, others] = tokens[index];
    const line = add(details, "p", "");
    add(add(line, "b", ""), "bdi", pieces[piece]);
    add(line, "span", ` at byte ${offset.toLocaleString("en")}: ${bits.toFixed(2)} bits`);
    add(line, "span", memory ? `; the model alone, ${modelBits.toFixed(2)} bits (${percent(2 ** -modelBits)})` : ` (${percent(2 ** -bits)})`);
    if (!others.length) return;
    const table = add(details, "table", "");
    add(table, "caption", memory ? "What the model held likeliest, before memory" : "What the model held likeliest");
    const body = add(table, "tbody", "");
    for (let i = 0; i < others.length; i += 2) {
      const row = add(body, "tr", "");
      const name = add(row, "th", "");
      name.scope = "row";
      add(add(name, "code", ""), "bdi", pieces[others[i]] + (others[i] === piece ? " ← this one" : ""));
      add(row, "td", percent(others[i + 1]));
    }
  };
  const choose = (index, scroll) => {
    if (index < 0 || index >= spans.length || index === chosen) return;
    if (chosen >= 0) spans[chosen].classList.remove("on");
    chosen = index;
    spans[index].classList.add("on");
    details.hidden = false;
    details.replaceChildren();
    for (let token = cells[index]; token < (cells[index + 1] ?? tokens.length); token++) describe(token);
    if (scroll) spans[index].scrollIntoView({ block: "center" });
  };
  const follow = (event) => {
    const index = number.get(event.target);
    if (index !== undefined) choose(index, false);
  };
  text.addEventListener("mouseover", follow);
  text.addEventListener("click", follow);
  text.addEventListener("focus", () => choose(Math.max(chosen, 0), false));
  text.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 10, ArrowLeft: -1, ArrowUp: -10 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(Math.min(Math.max(chosen + step, 0), spans.length - 1), true);
  });
  const jump = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (number.has(target)) choose(number.get(target), true);
  };
  addEventListener("hashchange", jump);
  jump();
})();
