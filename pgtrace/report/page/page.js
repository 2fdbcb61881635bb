// What the page does beside being read: draws the timeline, zooms it, sorts tables, changes the theme.
// Texts become text nodes only; nothing here makes HTML of a text.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const make = (name, words) => {
    const element = document.createElement(name);
    if (words !== undefined) element.textContent = words;
    return element;
  };

  // theme ------------------------------------------------------------------------------------------------------------
  const root = document.documentElement;
  const themeButton = byId("theme");
  const sayTheme = () => { themeButton.textContent = root.dataset.theme === "dark" ? "Light" : "Dark"; };
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    root.dataset.chosen = "yes";
    try { localStorage.setItem("pgtrace-theme", root.dataset.theme); } catch { /* a page from a file may not store */ }
    sayTheme();
  });
  new MutationObserver(sayTheme).observe(root, { attributeFilter: ["data-theme"] });
  sayTheme();

  // tables -----------------------------------------------------------------------------------------------------------
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const time = cell.querySelector("time");
    const raw = cell.dataset.v ?? (time ? time.dateTime : cell.textContent.trim());
    return cell.classList.contains("n") ? (raw === "" ? NaN : Number(raw)) : raw;
  };
  const compare = (one, other) => {
    if (typeof one === "number") {  // what is not known stands last, whichever way
      if (Number.isNaN(one) || Number.isNaN(other)) return NaN;
      return one - other;
    }
    if (one === "" || other === "") return one === other ? 0 : NaN;
    return one < other ? -1 : one > other ? 1 : 0;
  };
  const unknown = (key) => key === "" || Number.isNaN(key);
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const was = head.getAttribute("aria-sort");
      const up = was ? was === "descending" : !numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
      rows.sort(([one], [other]) => {
        const way = compare(one, other);
        if (Number.isNaN(way)) return unknown(one) - unknown(other);
        return up ? way : -way;
      });
      body.append(...rows.map(([, row]) => row));
    }));
  }

  // timeline ---------------------------------------------------------------------------------------------------------
  const holder = byId("chart");
  if (!holder) return;
  const spec = JSON.parse(byId("chart-spec").textContent);
  const datasets = JSON.parse(byId("chart-data").textContent);
  const [first, last] = [Number(holder.dataset.from), Number(holder.dataset.to)];
  const tip = byId("tip");
  const shown = byId("shown");
  let range = null;  // what is shown, [from, to] on the axis; null is all
  let view = null;
  let drawing = Promise.resolve();

  const inner = () => Math.max(120, holder.clientWidth - Number(holder.dataset.left) - 14);  // the vertical axes and a margin
  const words = (time) => new Date(time).toISOString().replace("T", " ").slice(0, 19);
  const tell = () => { shown.textContent = range ? `${words(range[0])} – ${words(range[1])}` : "whole span"; };

  const showTip = (handler, event, item) => {
    const rows = item && item.datum && item.datum.tip;
    tip.hidden = !rows;
    if (!rows) return;
    const list = make("dl");
    for (const [name, value] of Object.entries(rows)) list.append(make("dt", name), make("dd", value));
    tip.replaceChildren(list);
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + 16 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? event.clientY + 16 : event.clientY - tip.offsetHeight - 12}px`;
  };

  const draw = async () => {
    const sized = structuredClone(spec);
    const resize = (one) => { if (one.vconcat) one.vconcat.forEach(resize); else one.width = inner(); };
    resize(sized);
    if (range) sized.params.find((param) => param.name === "zoom").value = { x: range };
    if (view) view.finalize();
    const made = await vegaEmbed(holder, { ...sized, datasets }, {
      actions: false, ast: true, defaultStyle: false, hover: false, renderer: "svg", tooltip: showTip,
    });
    view = made.view;
    view.addSignalListener("zoom", (name, value) => {
      const times = value && (value.t ?? Object.values(value)[0]);
      range = times ? [Number(times[0]), Number(times[1])] : null;
      tell();
    });
    holder.dataset.drawn = "yes";
    tell();
  };
  const redraw = () => { drawing = drawing.then(draw); return drawing; };

  const zoomTo = (from, to) => {
    const least = 1000;
    const wide = Math.max(least, to - from);
    const begin = Math.min(Math.max(first, from), Math.max(first, last - wide));
    range = wide >= last - first ? null : [begin, begin + wide];
    return redraw();
  };
  const moves = {
    in: ([from, to]) => [from + (to - from) / 4, to - (to - from) / 4],
    out: ([from, to]) => [from - (to - from) / 2, to + (to - from) / 2],
    earlier: ([from, to]) => [from - (to - from) / 2, to - (to - from) / 2],
    later: ([from, to]) => [from + (to - from) / 2, to + (to - from) / 2],
    all: () => [first, last],
  };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoomTo(...moves[button.dataset.zoom](range ?? [first, last])));
  }
  for (const button of document.querySelectorAll(".jump")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      zoomTo(Number(button.dataset.from), Number(button.dataset.to));
      byId("timeline").scrollIntoView();
    });
  }
  holder.addEventListener("pointerleave", () => { tip.hidden = true; });
  let width = 0;
  let waiting = 0;
  new ResizeObserver(() => {
    if (holder.clientWidth === width) return;
    width = holder.clientWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, view ? 120 : 0);
  }).observe(holder);
})();
