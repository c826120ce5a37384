// Time per step: how many have reached it by when, and how long those took who did.

// The page holds a step's curve in lists; in rpt_step_times each time is a row.
const CURVE = ["within_seconds", "reached_count", "reached_rate", "reached_rate_low", "reached_rate_high"];
const QUANTILES = ["p50", "p75", "p90"].flatMap((name) => ["", "_low", "_high"].map((end) => `${name}_seconds${end}`));

function without(row, names) { return Object.fromEntries(Object.entries(row).filter(([name]) => !names.includes(name))); }

function timesOf(row) {
  const of_step = without(row, [...CURVE, ...QUANTILES, "timed_count"]);
  return row.within_seconds.map((_, place) => ({ ...of_step, ...Object.fromEntries(CURVE.map((name) => [name, row[name][place]])) }));
}

const SECONDS_WRITTEN = "datum.value < 60 ? datum.value + ' s' : datum.value < 3600 ? datum.value / 60 + ' min' : datum.value < 86400 ? datum.value / 3600 + ' h' : datum.value / 86400 + ' d'";

function showTimes() {
  const rows = chosenRows("rpt_step_times").flatMap(timesOf);
  const values = rows.map((row) => ({
    step: row.step, seconds: row.within_seconds, share: row.reached_rate, low: row.reached_rate_low, high: row.reached_rate_high,
    within: duration(row.within_seconds), told: sharesTold(row, "reached", row.entered_count),
  })).filter((each) => each.share !== null);
  const leftOut = Math.max(0, ...rows.map((row) => row.left_out_count));
  document.getElementById("times-about").textContent = values.length === 0
    ? "No session began on the last 28 mature days."
    : "Of the sessions of the last 28 mature days, the share that had reached the step so long after they began, with its 95 % interval. "
      + "Those who left before are among these sessions."
      + (leftOut > 0 ? ` Up to ${counted(leftOut)} sessions are left out, since their beginning was not seen.` : "");
  const steps = [...new Set(rows.map((row) => row.step))];
  const x = { field: "seconds", type: "quantitative", title: null, scale: { type: "log", nice: false }, axis: { values: [10, 60, 600, 3600, 21600, 86400, 604800], labelExpr: SECONDS_WRITTEN } };
  const y = { field: "share", type: "quantitative", title: null, axis: { format: "%" }, scale: { domain: [0, 1] } };
  const step = { field: "step", type: "nominal", title: null, sort: steps, legend: { orient: "top", symbolType: "stroke", symbolSize: 400, symbolStrokeWidth: 2, symbolOpacity: 1 } };
  const color = { ...step, scale: { range: steps.map((_, place) => styled(`line-${place % 4}`)) } };
  draw("times", values.length === 0 ? null : {
    data: { values },
    width: 860,
    height: 220,
    encoding: { x, color },
    layer: [
      { mark: { type: "area", opacity: 0.18 }, encoding: { y: { ...y, field: "low" }, y2: { field: "high" } } },
      { mark: { type: "line", strokeWidth: 2 }, encoding: { y, strokeDash: { ...step, legend: null } } },
      { mark: { type: "point", filled: true, size: 30, opacity: 1 }, encoding: { y, tooltip: [{ field: "step" }, { field: "within" }, { field: "told", title: "reached" }] } },
    ],
  }, `The share of sessions that had reached each step by when: ${steps.length} steps. The same numbers are in the table below.`);
  explain("times", rows, sqlOfTable("rpt_step_times", { order: "step_number, within_seconds" }), told.tables.rpt_step_times.definition);
}

function showSpans() {
  const templates = shownTemplates();
  const held = chosenRows("rpt_step_times", { isByTemplate: true });
  const rows = templates.slice(0, MOST_TEMPLATES).flatMap((template) => held
    .filter((row) => row.template_key === told.names.template[template])
    .map((row) => ({ ...without(timesOf(row).at(-1), ["left_out_count"]), ...Object.fromEntries(["timed_count", ...QUANTILES].map((name) => [name, row[name]])) })));
  const values = rows.filter((row) => row.timed_count > 0).map((row) => ({
    template: labelled(row.template_key, "(not known)"), step: row.step, p50: row.p50_seconds, p75: row.p75_seconds, p90: row.p90_seconds,
    isFew: row.timed_count < FEW_SESSIONS, sessions: counted(row.timed_count),
    ...Object.fromEntries(["p50", "p75", "p90"].map((name) => [`${name}Told`, quantileTold(row, name)])),
  }));
  const left = templates.length - MOST_TEMPLATES;
  document.getElementById("spans-about").textContent =
    "Of the sessions that reached the step, the time from their beginning: the dot is the median, the tick three quarters, the end of the line nine in ten. "
    + `Grey are fewer than ${FEW_SESSIONS} sessions. How many reached it is above.`
    + (left > 0 ? ` These are the ${MOST_TEMPLATES} templates with the most sessions. ${left} more can be chosen above.` : "");
  const scale = { type: "symlog", constant: 5, nice: false };
  const x = { field: "p50", type: "quantitative", title: null, scale, axis: { values: [0, 10, 60, 600, 3600, 21600, 86400, 604800], labelExpr: SECONDS_WRITTEN, labelOverlap: "greedy" } };
  const y = { field: "template", type: "nominal", title: null, sort: null, axis: { labelLimit: 170 } };
  const color = { condition: { test: "datum.isFew", value: styled("quiet") }, value: styled("performed") };
  const tooltip = [{ field: "template" }, { field: "step" }, { field: "sessions", title: "reached it" }, ...["p50", "p75", "p90"].map((name) => ({ field: `${name}Told`, title: name }))];
  draw("spans", values.length === 0 ? null : {
    data: { values },
    facet: { column: { field: "step", type: "nominal", title: null, sort: [...new Set(rows.map((row) => row.step))], header: { labelFontWeight: 600 } } },
    spec: {
      width: 165,
      height: { step: 20 },
      encoding: { y, color, tooltip },
      layer: [
        { mark: { type: "rule", strokeWidth: 3, opacity: 0.6 }, encoding: { x, x2: { field: "p90" } } },
        { mark: { type: "tick", thickness: 2, size: 11 }, encoding: { x: { ...x, field: "p75" } } },
        { mark: { type: "point", filled: true, opacity: 1, size: 55 }, encoding: { x } },
      ],
    },
  }, `The time until each step, for ${Math.min(templates.length, MOST_TEMPLATES)} templates. The same numbers are in the table below.`);
  explain("spans", rows, sqlOfTable("rpt_step_times", {
    isByTemplate: true, where: ["within_seconds = (select funnel_window_seconds from meta_build)"], order: "template_key, step_number",
  }), told.tables.rpt_step_times.definition);
}

function quantileTold(row, name) {
  const [value, low, high] = ["", "_low", "_high"].map((end) => row[`${name}_seconds${end}`]);
  return `${duration(value)} (95 %: ${duration(low)} to ${duration(high)})`;
}
