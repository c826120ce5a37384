// Conversion over time.

function showConversion() {
  const rows = series("submitted", chosen.grain);
  const values = rows.map((row) => ({
    start: told.starts[row[AT.start]], share: value(row), low: value(row, "low"), high: value(row, "high"),
    state: value(row, "is_mature") ? "mature" : "too young to compare", told: `${outOf(row)}${interval(row, share)}`,
  }));
  const name = chosen.template === ALL ? null : told.names.template[chosen.template];
  const first = values[0]?.start ?? "";
  const events = told.annotations
    .filter((event) => event.date >= first && (event.template === null || chosen.template === ALL || event.template === name))
    .map((event) => ({ date: event.date, text: event.template === null ? event.text : `${event.template}: ${event.text}` }));
  document.getElementById("conversion-about").textContent =
    `Of the sessions that began in each ${chosen.grain}, the share that submitted, with its 95 % interval. A hollow point is of `
    + "sessions that still have time."
    + (events.length ? ` ${events.length} lines from annotations.csv: ${events.map((event) => `${event.date} ${event.text}`).join("; ")}.` : "");
  const x = { field: "start", type: "temporal", timeUnit: "utcyearmonthdate", title: null };
  const y = { field: "share", type: "quantitative", title: null, axis: { format: "%" }, scale: { zero: true } };
  const tooltip = [{ field: "start", title: chosen.grain }, { field: "share", format: ".1%", title: "submitted" }, { field: "told", title: "sessions" }, { field: "state" }];
  const isMature = { transform: [{ filter: "datum.state === 'mature'" }] };
  draw("conversion", values.length === 0 ? null : {
    data: { values },
    width: 860,
    height: 240,
    layer: [
      ...(values.some(({ state }) => state === "mature") ? [
        { ...isMature, mark: { type: "area", opacity: 0.25, color: styled("performed") }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" } } },
        { ...isMature, mark: { type: "line", color: styled("performed") }, encoding: { x, y } },
      ] : []),
      {
        mark: { type: "point", size: 36, color: styled("performed") },
        encoding: { x, y, tooltip, fill: { field: "state", title: null, scale: { domain: ["mature", "too young to compare"], range: [styled("performed"), styled("paper")] }, legend: { orient: "top" } } },
      },
      ...(events.length === 0 ? [] : [{ data: { values: events }, mark: { type: "rule", strokeDash: [4, 3], color: styled("quiet") }, encoding: { x: { ...x, field: "date" }, tooltip: [{ field: "date" }, { field: "text" }] } },
      { data: { values: events }, mark: { type: "text", align: "left", baseline: "top", dx: 4, limit: 160, color: styled("quiet") }, encoding: { x: { ...x, field: "date" }, y: { value: 0 }, text: { field: "text" }, tooltip: [{ field: "date" }, { field: "text" }] } }]),
    ],
  }, `Submitted sessions by ${chosen.grain}: ${values.length} points. The same numbers are in the table below.`);
  explainMetrics("conversion", rows, ["submitted"], [chosen.grain]);
}
