// The funnel of each template.

const MOST_TEMPLATES = 12;

function shownTemplates() {
  if (chosen.template !== ALL) return [chosen.template];
  const sessions = (template) => value(one("sessions", "last_28_days", null, { ...chosen, template })) ?? 0;
  return [...told.names.template.keys()]
    .filter((template) => sessions(template) > 0)
    .sort((a, b) => sessions(b) - sessions(a) || a - b);
}

function showFunnel() {
  const templates = shownTemplates();
  const values = [];
  const shown = [];
  for (const template of templates.slice(0, MOST_TEMPLATES)) {
    const choice = { ...chosen, template };
    const name = nameOf("template", template);
    for (const [place, step] of told.steps.entries()) {
      const rows = Object.fromEntries(
        ["performed", "skipped", "reached", "dropped"].map((metric) => [metric, one(metric, "last_28_days", place, choice)]),
      );
      const before = one("reached", "previous_28_days", place, choice);
      for (const kind of ["performed", "skipped"]) {
        if (value(rows[kind]) !== null) {
          values.push({ template: name, step, kind, share: value(rows[kind]), told: `${kind} ${outOf(rows[kind])}${interval(rows[kind], share)}` });
        }
      }
      if (value(before) !== null) values.push({ template: name, step, kind: "28 days before", share: value(before), told: `28 days before: reached ${outOf(before)}` });
      if (value(rows.dropped)) {
        values.push({ template: name, step, kind: "left", share: value(rows.reached), label: `${share(value(rows.dropped))} left`, told: `got no further: ${outOf(rows.dropped)}${interval(rows.dropped, share)}` });
      }
      shown.push(...[rows.performed, rows.skipped, rows.reached, rows.dropped, before].filter((row) => row !== null));
    }
  }
  const left = templates.length - MOST_TEMPLATES;
  document.getElementById("funnel-about").textContent =
    "Sessions of the last 28 mature days by the step that they performed, or that the vendor skipped; the outline is the 28 days "
    + "before. “Left”: got no further, of those that reached the step."
    + (left > 0 ? ` These are the ${MOST_TEMPLATES} templates with the most sessions. ${left} more can be chosen above.` : "");
  const y = { field: "step", type: "nominal", sort: told.steps, title: null };
  const x = { field: "share", type: "quantitative", title: null, axis: { format: "%", tickCount: 3 }, scale: { domain: [0, 1.35] } };
  const tooltip = [{ field: "template" }, { field: "step" }, { field: "told", title: "sessions" }];
  draw("funnel", values.length === 0 ? null : {
    data: { values },
    facet: { field: "template", type: "nominal", title: null, sort: null, header: { labelLimit: 240, labelFontWeight: 600 } },
    columns: 3,
    spec: {
      width: 240,
      height: 100,
      layer: [
        {
          transform: [{ filter: "datum.kind === 'performed' || datum.kind === 'skipped'" }],
          mark: "bar",
          encoding: { y, x: { ...x, stack: "zero" }, tooltip, color: { field: "kind", title: null, scale: { domain: ["performed", "skipped"], range: [styled("performed"), styled("skipped")] }, legend: { orient: "top" } } },
        },
        {
          transform: [{ filter: "datum.kind === '28 days before'" }],
          mark: { type: "bar", filled: false, stroke: styled("text"), strokeDash: [2, 2], strokeWidth: 1 },
          encoding: { y, x, tooltip },
        },
        {
          transform: [{ filter: "datum.kind === 'left'" }],
          mark: { type: "text", align: "left", dx: 4, fontSize: 10, color: styled("text") },
          encoding: { y, x, text: { field: "label" }, tooltip },
        },
      ],
    },
  }, `The funnel of ${templates.length} templates. The same numbers are in the table below.`);
  explainMetrics("funnel", shown, ["performed", "skipped", "reached", "dropped"], ["last_28_days", "previous_28_days"], { isByTemplate: true });
}
