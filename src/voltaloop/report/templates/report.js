(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const touch = window.matchMedia("(hover: none)").matches;
  const plots = Object.entries(figures).map(([key, figure]) => {
    const place = document.getElementById(`plot-${key}`);
    Plotly.newPlot(place, figure.data, figure.layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: touch ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: key },
    });
    return place;
  });
  // Browsers lay the page out for paper after this event, so the width on paper is set by hand:
  // one or two columns on A4 or Letter with usual margins.
  const onPaper = (place) => (place.closest(".wide") ? 680 : 325);
  window.addEventListener("beforeprint", () =>
    plots.forEach((place) => Plotly.relayout(place, { width: onPaper(place) })));
  window.addEventListener("afterprint", () =>
    plots.forEach((place) => Plotly.relayout(place, { width: null, autosize: true })));
})();
