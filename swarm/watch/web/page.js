// The live page: keeps its sections as the server sends them, draws what is unfolded, and sends a person's word.
"use strict";
(() => {
  const token = new URLSearchParams(location.search).get("token") || "";
  const at = (path, more) => `${path}?${new URLSearchParams({ token, ...more })}`;
  const { dark, narrow } = swarmPlots;
  const link = document.getElementById("link");
  let seq = -1;
  let plotly = null;

  const withPlotly = () => {
    plotly = plotly || new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = at("plotly.js");
      script.onload = done;
      script.onerror = failed;
      document.head.append(script);
    });
    return plotly;
  };

  const draw = async (place) => {
    const answer = await fetch(at(`figure/${place.dataset.figure}`, { theme: dark.matches ? "dark" : "light" }));
    if (!answer.ok) return;
    const [figure] = await Promise.all([answer.json(), withPlotly()]);
    place.querySelector(".note").textContent = figure.note;
    const plot = place.querySelector(".plot");
    await Plotly.react(plot, figure.data, swarmPlots.fitted(figure.layout), swarmPlots.config());
    plot.dataset.drawn = seq;
  };

  const fill = async (place) => {
    const answer = await fetch(at(`table/${place.dataset.table}`));
    if (answer.ok) place.querySelector(".table").innerHTML = await answer.text(); // quoted by the server
  };

  // One request for each place at a time; a change meanwhile is asked for once more.
  const busy = new Map();
  const refresh = async (place) => {
    if (busy.has(place)) { busy.set(place, true); return; }
    busy.set(place, false);
    try { await (place.dataset.figure ? draw(place) : fill(place)); } catch (problem) { lost(problem); }
    const again = busy.get(place);
    busy.delete(place);
    if (again) refresh(place);
  };

  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting || seen.has(entry.target)) continue;
      seen.add(entry.target);
      refresh(entry.target);
    }
  }, { rootMargin: "400px" });
  const refreshAll = () => seen.forEach((place) => {
    if (place.tagName !== "DETAILS" || place.open) refresh(place);
  });

  for (const place of document.querySelectorAll("section[data-figure]")) watch.observe(place);
  for (const place of document.querySelectorAll("details")) {
    place.addEventListener("toggle", () => { if (place.open) { seen.add(place); refresh(place); } });
  }
  dark.addEventListener("change", refreshAll);
  narrow.addEventListener("change", refreshAll);

  const lost = () => {
    link.hidden = false;
    link.textContent = "No connection. If it does not come back, start swarm watch --web again.";
  };
  const events = new EventSource(at("events"));
  events.onopen = () => { link.hidden = true; };
  events.onerror = lost;
  events.onmessage = (message) => {
    const news = JSON.parse(message.data);
    for (const [id, html] of Object.entries(news.sections)) {
      document.getElementById(id).innerHTML = html; // quoted by the server
    }
    if (news.seq !== seq) {
      const first = seq === -1;
      seq = news.seq;
      if (!first) refreshAll();
    }
  };

  const said = document.getElementById("said");
  const send = async (body) => {
    const answer = await fetch("steer", {
      method: "POST", headers: { "Content-Type": "application/json", "X-Swarm-Token": token }, body: JSON.stringify(body),
    });
    said.textContent = (await answer.json()).said;
    return answer.ok;
  };
  for (const form of document.querySelectorAll("form[data-actions]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = event.submitter || form.querySelector("button");
      if (button.classList.contains("grave") && !button.classList.contains("armed")) {
        button.classList.add("armed"); // a second tap within four seconds means it
        const text = button.textContent;
        button.textContent = "Tap again to stop";
        setTimeout(() => { button.classList.remove("armed"); button.textContent = text; }, 4000);
        return;
      }
      const fields = Object.fromEntries(new FormData(form));
      try {
        if (await send({ action: button.value, ...fields }) && form.text) form.text.value = "";
      } catch (problem) {
        said.textContent = "It could not be sent: no connection.";
      }
    });
  }
})();
