"use strict";
(() => {
  const root = document.documentElement;
  const plots = [];
  let turning = false;

  const fail = (error) => {
    const line = document.getElementById("trouble");
    line.hidden = false;
    line.textContent = "The figures cannot be drawn: " + error.message;
    root.dataset.figures = "failed";
  };

  // ---- theme
  const button = document.getElementById("theme");
  const setTheme = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
    for (const plot of plots) wear(plot);
  };
  const wear = async (plot) => {
    await Plotly.relayout(plot, themed(plot.layout));
    if (!plot.inked.length) return;
    await Plotly.restyle(plot, { "marker.color": getComputedStyle(root).getPropertyValue("--text").trim() }, plot.inked);
  };
  const inked = (data) => data.flatMap((trace, index) => trace.marker && trace.marker.color === "#000000" ? [index] : []);
  const themed = (layout) => {
    const style = getComputedStyle(root);
    const [text, line] = [style.getPropertyValue("--text").trim(), style.getPropertyValue("--line").trim()];
    const change = { "font.color": text, paper_bgcolor: "rgba(0,0,0,0)" };
    if (!layout.coloraxis || layout.scene) change.plot_bgcolor = "rgba(0,0,0,0)";
    for (const key of Object.keys(layout)) {
      const axes = /^scene/.test(key) ? ["xaxis", "yaxis", "zaxis"].map((axis) => `${key}.${axis}`)
        : /^[xy]axis/.test(key) ? [key] : [];
      for (const axis of axes) {
        change[axis + ".gridcolor"] = line;
        change[axis + ".linecolor"] = line;
        change[axis + ".zerolinecolor"] = line;
      }
    }
    return change;
  };

  // ---- unpacking
  const unpack = async (id, page = document) => {
    const text = page.getElementById(id).textContent;
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const filled = (value, arrays) => {
    if (Array.isArray(value)) return value.map((entry) => filled(entry, arrays));
    if (value === null || typeof value !== "object") return value;
    if ("$array" in value) return { ...arrays[value.$array] };
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, filled(entry, arrays)]));
  };

  // ---- figures
  const arranged = (layout, kind, width) => {
    const narrow = width < 420;
    const bar = layout.coloraxis && layout.coloraxis.colorbar;
    if (bar) Object.assign(bar, { thickness: 12, len: 0.9, title: { ...bar.title, side: "right" } });
    const scene = layout.scene;
    if (scene) {
      for (const axis of ["xaxis", "yaxis", "zaxis"]) {
        const title = { ...scene[axis].title, font: { size: 11 } };
        if (axis === "zaxis") title.text = "";  // the colour bar names it, where there is room
        scene[axis] = { ...scene[axis], title, tickfont: { size: 9 }, nticks: 5 };
      }
      const away = narrow ? 1.2 : width < 520 ? 1 : 0.88;  // the letters stay as large: they need room beside a smaller surface
      scene.camera = { eye: { x: 1.7 * away, y: -2.2 * away, z: 1.2 * away } };
      scene.domain = { x: [0, 0.88], y: [0, 1] };
    }
    for (const axis of Object.keys(layout)) if (/^yaxis/.test(axis)) layout[axis].automargin = true;
    if (kind === "contour") Object.assign(layout.yaxis, { scaleanchor: "x", constrain: "domain" });
    const beside = (layout.annotations || []).filter((note) => note.xref === "paper" && note.yref !== "paper");
    const longest = (texts) => 7 * Math.max(0, ...texts.map((text) => text.length));  // in pixels
    const names = Object.keys(layout).filter((axis) => /^yaxis/.test(axis)).flatMap((axis) => layout[axis].ticktext || []);
    const numbers = longest(beside.map((note) => note.text));
    const room = width - longest(names) - numbers > 100 ? numbers : 0;  // without room each is in the mark's own text
    for (const note of beside) Object.assign(note, { x: 1, visible: room > 0 });
    if (beside.length) for (const axis of Object.keys(layout)) if (/^xaxis/.test(axis)) layout[axis].domain = [0, 1];
    return {
      ...layout,
      autosize: true,
      font: { family: "DejaVu Sans, Verdana, sans-serif", size: narrow ? 10 : 12 },
      margin: scene ? { t: 5, b: 5, l: 0, r: 0 } : { t: 15, b: 55, l: 60, r: 15 + room },
      legend: { ...layout.legend, orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    };
  };
  const linkCamera = (plot) => {
    plot.on("plotly_relayout", async (change) => {
      const camera = change["scene.camera"];
      if (!camera || turning) return;
      turning = true;
      const others = plots.filter((other) => other !== plot && other.layout.scene);
      await Promise.all(others.map((other) => Plotly.relayout(other, { "scene.camera": camera })));
      turning = false;
    });
  };
  const draw = async () => {
    if (document.getElementById("library")) {
      const code = document.createElement("script");
      code.textContent = await unpack("library");
      document.head.append(code);
    }
    const pack = JSON.parse(await unpack("figures"));
    for (const [index, packed] of pack.figures.entries()) {
      const plot = document.getElementById("figure-" + index);
      const figure = filled(packed, pack.arrays);
      const layout = arranged(figure.layout, plot.parentElement.dataset.kind, plot.clientWidth);
      await Plotly.newPlot(plot, figure.data, layout, { responsive: true, displaylogo: false });
      plot.inked = inked(figure.data);
      plots.push(plot);
      await wear(plot);
      if (plot.layout.scene) linkCamera(plot);
      await new Promise((resume) => setTimeout(resume));
    }
    root.dataset.figures = "drawn";
  };

  // ---- switching checkpoints
  for (const box of document.querySelectorAll("#switch input")) {
    box.addEventListener("change", () => {
      for (const card of document.querySelectorAll(".card")) {
        if (card.dataset.checkpoint !== box.value) continue;
        card.hidden = !box.checked;
        const plot = card.querySelector(".plot");
        if (box.checked && plots.includes(plot)) Plotly.Plots.resize(plot);
      }
    });
  }

  // ---- sorting tables
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  const sort = (table) => {  // by the column whose head says so
    const cell = table.querySelector("th[aria-sort$='scending']");
    if (!cell) return;
    const up = cell.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.cells[cell.cellIndex].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const order = compare(value(a), value(b));
      return up || value(a) === "" || value(b) === "" ? order : -order;
    });
    table.tBodies[0].append(...rows);
  };
  for (const head of document.querySelectorAll("th button")) {
    head.addEventListener("click", () => {
      const cell = head.parentElement;
      const table = cell.closest("table");
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of table.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(table);
    });
  }

  // ---- printing: light, with commands, settings and fingerprints unfolded
  let before = null;
  let folded = [];
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const part of folded) part.open = true;
    if (before === "dark") setTheme(false);
  });
  window.addEventListener("afterprint", () => {
    for (const part of folded) part.open = false;
    if (before === "dark") setTheme(true);
  });

  // ---- following a store that is being written
  const refresh = async () => {
    const page = new DOMParser().parseFromString(await (await fetch("./", { cache: "no-store" })).text(), "text/html");
    const outline = (of) => [...of.querySelectorAll("h2, figcaption")].map((title) => title.textContent).join("|");
    if (outline(document) !== outline(page)) return location.reload();
    document.getElementById("state").replaceWith(document.importNode(page.getElementById("state"), true));
    const notes = page.querySelectorAll(".follows");
    document.querySelectorAll(".follows").forEach((note, index) => { note.textContent = notes[index].textContent; });
    const bodies = page.querySelectorAll("tbody");
    document.querySelectorAll("tbody").forEach((body, index) => {
      body.replaceChildren(...document.importNode(bodies[index], true).rows);
      sort(body.parentElement);
    });
    const pack = JSON.parse(await unpack("figures", page));
    for (const [index, packed] of pack.figures.entries()) {
      const plot = document.getElementById("figure-" + index);
      const figure = filled(packed, pack.arrays);
      const layout = arranged(figure.layout, plot.parentElement.dataset.kind, plot.clientWidth);
      if (plot.layout.scene) layout.scene.camera = plot.layout.scene.camera;
      plot.inked = inked(figure.data);
      await Plotly.react(plot, figure.data, layout);
      await wear(plot);
    }
    root.dataset.live = page.documentElement.dataset.live;
  };
  const follow = async () => {
    const line = document.getElementById("live");
    try {
      const answer = await fetch("version", { cache: "no-store" });
      if (!answer.ok) throw new Error(await answer.text());
      if (await answer.text() !== root.dataset.live) await refresh();
      line.textContent = "Live: this page follows what is computed; looked at " + new Date().toLocaleTimeString() + ".";
    } catch (error) {
      line.textContent = "Not live: " + error.message;
    }
    setTimeout(follow, 2000);
  };

  button.addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));
  setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches);
  const drawn = document.getElementById("figures") ? draw().catch(fail) : Promise.resolve();
  if (!document.getElementById("figures")) root.dataset.figures = "none";
  if (root.dataset.live) drawn.then(follow);
})();
