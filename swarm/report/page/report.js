// The report: inflates plotly and the figures, which are packed in the page, and draws what is seen or unfolded.
(() => {
  "use strict";
  const inflate = async (id) => {
    const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (one) => one.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).text();
  };
  let figures = null;
  const ready = new Promise((done) => addEventListener("DOMContentLoaded", done)).then(async () => {
    const [data, code] = await Promise.all([inflate("figures"), inflate("plotly")]);
    figures = JSON.parse(data);
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
  });
  const place = (figure) => figure.querySelector(".plot");
  const drawNow = (figure, theme) => {
    const { data, layout } = figures[figure.dataset.figure][theme];
    Plotly.react(place(figure), structuredClone(data), swarmPlots.fitted(layout), swarmPlots.config());
    place(figure).dataset.drawn = theme;
  };
  const theme = () => (swarmPlots.dark.matches ? "dark" : "light");
  const draw = async (figure) => {
    try { await ready; drawNow(figure, theme()); } catch (problem) {
      place(figure).textContent = "This browser cannot draw it; the numbers are in the table below.";
    }
  };
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !seen.has(target)) { seen.add(target); draw(target); }
    }
  }, { rootMargin: "400px" });
  addEventListener("DOMContentLoaded", () => {
    for (const figure of document.querySelectorAll("figure")) watch.observe(figure);
  });
  const again = () => seen.forEach((figure) => draw(figure));
  swarmPlots.dark.addEventListener("change", again);
  swarmPlots.narrow.addEventListener("change", again);

  // On paper: unfolded but for long tables, and in dark ink.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not(.rest):not([open])")];
    for (const one of opened) one.open = true;
    if (!figures) return;
    for (const figure of document.querySelectorAll("figure")) { seen.add(figure); drawNow(figure, "light"); }
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
    again();
  });
})();
