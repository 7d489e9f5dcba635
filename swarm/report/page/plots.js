// Both pages: what a figure looks like in its place.
const swarmPlots = {
  dark: matchMedia("(prefers-color-scheme: dark)"),
  narrow: matchMedia("(max-width: 600px)"),
  config() {
    return { displaylogo: false, responsive: true, displayModeBar: !this.narrow.matches };
  },
  fitted(layout) {
    const titles = (layout.annotations || []).some((one) => one.yref === "paper" && one.y > 0.9) ? 24 : 0; // of subplots
    if (!this.narrow.matches) return { ...layout, margin: { l: 70, r: 20, t: 36 + titles, b: 60 } };
    return {
      ...layout,
      margin: { l: 52, r: 8, t: 10 + titles, b: 44 },
      font: { ...layout.font, size: 11 },
      legend: { ...layout.legend, orientation: "h", y: -0.22, x: 0 },
      dragmode: false, // a thumb scrolls the page
    };
  },
};
