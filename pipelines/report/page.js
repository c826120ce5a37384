"use strict";
// Shows rows of rpt_metrics, and computes none of its numbers. Text from outside reaches the page as text alone: by
// textContent here, as data in the drawings.
const told = JSON.parse(document.getElementById("told").textContent);
const ALL = -1;
const AT = Object.fromEntries(told.fields.map((field, place) => [field, place]));
const COLUMNS = { environment: "environment_name", template: "template_key", plan: "plan" };
const DIMENSIONS = Object.keys(COLUMNS);
const MOST_TEMPLATES = 12;
const GRAINS = ["day", "week", "month"];
const chosen = { environment: ALL, template: ALL, plan: ALL, grain: "week" };

const found = new Map();
for (const row of told.rows) {
  row[AT.metric] = told.metrics[row[AT.metric]];
  row[AT.period] = told.periods[row[AT.period]];
  row[AT.is_mature] = row[AT.is_mature] === 1;
  const key = keyOf(row[AT.metric], row[AT.step], row[AT.period], row[AT.environment], row[AT.template], row[AT.plan]);
  if (!found.has(key)) found.set(key, []);
  found.get(key).push(row);
}

function keyOf(...parts) { return parts.join(" "); }

// The rows of a metric for what is chosen, by start.
function series(metric, period, step = null, choice = chosen) {
  return found.get(keyOf(metric, step, period, choice.environment, choice.template, choice.plan)) ?? [];
}

function one(...asked) { return series(...asked)[0] ?? null; }

function value(row, field = "value") { return row === null ? null : row[AT[field]]; }

// ---- Texts

const count = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

function counted(number) { return number === null ? "not known" : count.format(number); }

function share(number) { return number === null ? "not known" : percent.format(number); }

function duration(seconds) {
  if (seconds === null) return "not known";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 2 * 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${count.format(Math.floor(whole / 86400))} days ${Math.floor((whole % 86400) / 3600)} h`;
}

function interval(row, written) {
  if (value(row, "low") === null && value(row, "high") === null) return "too few for an interval";
  const [low, high] = ["low", "high"].map((end) => (value(row, end) === null ? "not known" : written(value(row, end))));
  return `95 %: ${low} to ${high}`;
}

function nameOf(dimension, place) {
  if (place === ALL) return `all ${dimension}s`;
  const name = told.names[dimension][place];
  if (name === null) return "(not known)";
  return name.trim() === "" ? `“${name}”` : name;
}

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, content] of Object.entries(attributes)) made.setAttribute(name, content);
  return made;
}

// ---- Whether to believe the page

function showHeader() {
  const freshness = document.getElementById("freshness");
  if (told.data_through === null) {
    freshness.textContent = "No sweep has completed yet, so nothing is known to be mature.";
    freshness.className = "late";
  } else {
    const age = (Date.now() - Date.parse(told.data_through)) / 1000;
    const isLate = age > told.late_after_seconds;
    freshness.textContent = `Data through ${told.data_through.slice(0, 16).replace("T", " ")} UTC, ${duration(Math.max(age, 0))} ago.`
      + (isLate ? ` This is late: it should be at most ${duration(told.late_after_seconds)}.` : "");
    freshness.className = isLate ? "late" : "";
  }
  const everything = { environment: ALL, template: ALL, plan: ALL };
  const quality = document.getElementById("quality");
  for (const [metric, label, isAlarm] of [
    ["broken_sweeps", "Sweeps that broke off since", true],
    ["failed_embeds", "Embeds that failed", true],
    ["held_events", "Events held", false],
    ["purged_events", "of these gone at the vendor", false],
    ["unheld_events", "At the vendor, not held", true],
    ["unreconciled_days", "Days not reconciled", false],
    ["quarantined_events", "Quarantined", true],
    ["stuck", "Sessions stuck now", false],
  ]) {
    const number = value(one(metric, "now", null, everything));
    const line = element("div", "", isAlarm && number ? { class: "alarm" } : {});
    line.append(element("dt", label), element("dd", counted(number), { "data-metric": metric, "data-value": String(number) }));
    quality.append(line);
  }
  const warnings = document.getElementById("warnings");
  if (told.warnings === null) warnings.textContent = "Which checks hold is not known: an older version published this.";
  else if (told.warnings.length === 0) warnings.textContent = "All checks hold.";
  else warnings.textContent = `Checks that do not hold, and are not acknowledged: ${told.warnings.join(", ")}.`;
  warnings.className = told.warnings?.length === 0 ? "quiet" : "alarm";
  document.getElementById("build").textContent =
    `Build ${told.build_id} of ${told.code_version}, from ${told.built_at.slice(0, 16).replace("T", " ")} UTC. `
    + "Every number is a row of rpt_metrics in warehouse.duckdb.";
}

// ---- Filters, and the address that keeps them

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const missing = [];
  for (const dimension of DIMENSIONS) {
    const written = asked.get(dimension);
    chosen[dimension] = ALL;
    if (written === null) continue;
    const place = told.names[dimension].indexOf(written === "?" ? null : written.slice(1));
    if (place === -1) missing.push(`${dimension} ${written.slice(1)}`);
    else chosen[dimension] = place;
  }
  chosen.grain = GRAINS.includes(asked.get("by")) ? asked.get("by") : "week";
  document.getElementById("filters-told").textContent =
    missing.length ? `The address names what is not on this page: ${missing.join(", ")}.` : "";
}

// A name stands behind a sign, so that no name is taken for another thing.
function writeAddress() {
  const asked = new URLSearchParams();
  for (const dimension of DIMENSIONS) {
    if (chosen[dimension] === ALL) continue;
    const name = told.names[dimension][chosen[dimension]];
    asked.set(dimension, name === null ? "?" : `=${name}`);
  }
  if (chosen.grain !== "week") asked.set("by", chosen.grain);
  history.replaceState(null, "", `#${asked}`);
}

function makeFilters() {
  for (const dimension of DIMENSIONS) {
    const select = document.getElementById(dimension);
    const places = [...told.names[dimension].keys()].sort((a, b) => nameOf(dimension, a).localeCompare(nameOf(dimension, b)));
    for (const place of [ALL, ...places]) select.append(element("option", nameOf(dimension, place), { value: place }));
    // The lists have no other plan where no claim is named as such.
    select.disabled = places.length === 0;
  }
  document.getElementById("filters").addEventListener("change", () => {
    for (const dimension of DIMENSIONS) chosen[dimension] = Number(document.getElementById(dimension).value);
    chosen.grain = document.getElementById("grain").value;
    document.getElementById("filters-told").textContent = "";
    writeAddress();
    show();
  });
  window.addEventListener("hashchange", () => { readAddress(); show(); });
}

// ---- The four numbers

const CARDS = [
  { title: "Sessions", metrics: ["sessions"], written: counted },
  { title: "Submitted", metrics: ["submitted"], written: share },
  { title: "Delivered, of submitted ones whose delivery is known", metrics: ["delivered"], written: share },
  {
    title: "From upload to submission: median, 90th percentile",
    metrics: ["seconds_to_submit_median", "seconds_to_submit_p90"],
    written: duration,
  },
];

function outOf(row) {
  if (value(row, "denominator") === null) return "";
  const n = counted(value(row, "denominator"));
  return value(row, "numerator") === null ? `n = ${n}. ` : `${counted(value(row, "numerator"))} of ${n}. `;
}

function showCards() {
  const cards = document.getElementById("cards");
  cards.replaceChildren();
  const shown = [];
  for (const { title, metrics, written } of CARDS) {
    const card = element("article", "", { class: "card" });
    card.append(element("h3", title));
    for (const metric of metrics) {
      for (const [period, words] of [["last_28_days", ""], ["previous_28_days", "28 days before: "]]) {
        const row = one(metric, period);
        const text = row === null ? "no sessions" : written(value(row));
        const line = element("p", words + text, { "data-metric": metric, "data-period": period, "data-value": String(value(row)) });
        if (period === "last_28_days") line.className = "value";
        const about = !value(row, "denominator") ? "" : outOf(row) + interval(row, written);
        card.append(line);
        if (about) card.append(element("p", about));
        if (row !== null) shown.push(row);
      }
    }
    cards.append(card);
  }
  const [last] = shown;
  const young = value(one("sessions", "since"), "numerator") ?? 0;
  document.getElementById("numbers-period").textContent = (last === undefined
    ? "No session began on a mature day of the last 56. "
    : `Sessions that began on the 28 days from ${told.starts[last[AT.start]]}, beside the 28 days before. `)
    + `${counted(young)} that began since are too young to be compared, and left out.`;
  document.getElementById("numbers-period").dataset.young = young;
  explain("numbers", shown, CARDS.flatMap((card) => card.metrics), ["last_28_days", "previous_28_days"]);
}

// ---- The funnel

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
          encoding: { y, x: { ...x, stack: "zero" }, tooltip, color: { field: "kind", title: null, scale: { domain: ["performed", "skipped"], range: [colour("performed"), colour("skipped")] }, legend: { orient: "top" } } },
        },
        {
          transform: [{ filter: "datum.kind === '28 days before'" }],
          mark: { type: "bar", filled: false, stroke: colour("text"), strokeDash: [2, 2], strokeWidth: 1 },
          encoding: { y, x, tooltip },
        },
        {
          transform: [{ filter: "datum.kind === 'left'" }],
          mark: { type: "text", align: "left", dx: 4, fontSize: 10, color: colour("text") },
          encoding: { y, x, text: { field: "label" }, tooltip },
        },
      ],
    },
  }, `The funnel of ${templates.length} templates. The same numbers are in the table below.`);
  explain("funnel", shown, ["performed", "skipped", "reached", "dropped"], ["last_28_days", "previous_28_days"], { isByTemplate: true });
}

// ---- Over time

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
      { ...isMature, mark: { type: "area", opacity: 0.25, color: colour("performed") }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" } } },
      { ...isMature, mark: { type: "line", color: colour("performed") }, encoding: { x, y } },
      {
        mark: { type: "point", size: 36, color: colour("performed") },
        encoding: { x, y, tooltip, fill: { field: "state", title: null, scale: { domain: ["mature", "too young to compare"], range: [colour("performed"), colour("paper")] }, legend: { orient: "top" } } },
      },
      ...(events.length === 0 ? [] : [{ data: { values: events }, mark: { type: "rule", strokeDash: [4, 3], color: colour("quiet") }, encoding: { x: { ...x, field: "date" }, tooltip: [{ field: "date" }, { field: "text" }] } },
      { data: { values: events }, mark: { type: "text", align: "left", baseline: "top", dx: 4, limit: 160, color: colour("quiet") }, encoding: { x: { ...x, field: "date" }, y: { value: 0 }, text: { field: "text" }, tooltip: [{ field: "date" }, { field: "text" }] } }]),
    ],
  }, `Submitted sessions by ${chosen.grain}: ${values.length} points. The same numbers are in the table below.`);
  explain("conversion", rows, ["submitted"], [chosen.grain]);
}

// ---- Drawing

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

let drawn = Promise.resolve();

function draw(id, spec, label) {
  const place = document.getElementById(`${id}-drawing`);
  place.setAttribute("aria-label", label);
  // One after the other, so that the last choice is what stays.
  drawn = drawn.then(async () => {
    place.replaceChildren();
    if (spec === null) { place.append(element("p", "No sessions.", { class: "quiet" })); return; }
    const axis = { labelColor: colour("text"), gridColor: colour("line"), domainColor: colour("line"), tickColor: colour("line") };
    const words = { labelColor: colour("text"), titleColor: colour("text") };
    const config = { background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, axis, legend: words, header: words };
    await vegaEmbed(place, { ...spec, config }, { mode: "vega-lite", renderer: "svg", actions: false });
  });
}

// ---- Under each picture: its rows, their SQL, what they mean

function explain(id, rows, metrics, periods, { isByTemplate = false } = {}) {
  const section = document.getElementById(id);
  const open = [...section.querySelectorAll("details")].map((part) => part.open);
  section.querySelectorAll("details").forEach((part) => part.remove());
  const records = rows.map(record);
  const table = details("Rows");
  const wrapped = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rows" });
  wrapped.append(tableOf(records));
  table.append(button("Download as CSV", () => download(`${id}.csv`, csv(records))), wrapped);
  const query = details("SQL");
  const sql = sqlOf(metrics, periods, isByTemplate);
  query.append(element("pre", sql), button("Copy", () => navigator.clipboard.writeText(sql)));
  const meaning = details("Definitions");
  meaning.append(element("p", told.definition, { class: "quiet" }));
  section.append(table, query, meaning);
  [table, query, meaning].forEach((part, place) => { part.open = open[place] ?? false; });
}

function details(title) {
  const made = element("details");
  made.append(element("summary", title));
  return made;
}

function button(title, act) {
  const made = element("button", title, { type: "button" });
  made.addEventListener("click", act);
  return made;
}

function record(row) {
  const of = (dimension) => (row[AT[dimension]] === ALL ? "all" : told.names[dimension][row[AT[dimension]]]);
  return {
    metric: row[AT.metric], step: row[AT.step] === null ? null : told.steps[row[AT.step]], period: row[AT.period],
    period_start: row[AT.start] === null ? null : told.starts[row[AT.start]],
    ...Object.fromEntries(DIMENSIONS.flatMap((dimension) => [
      [`is_all_${dimension}s`, row[AT[dimension]] === ALL],
      [COLUMNS[dimension], row[AT[dimension]] === ALL ? null : of(dimension)],
    ])),
    ...Object.fromEntries(["value", "numerator", "denominator", "low", "high", "is_mature"].map((field) => [field, row[AT[field]]])),
  };
}

function tableOf(records) {
  const table = element("table");
  const head = element("tr");
  const names = Object.keys(records[0] ?? {}).filter((name) => !name.startsWith("is_all_"));
  head.append(...names.map((name) => element("th", name, { scope: "col" })));
  table.append(head);
  for (const made of records) {
    const line = element("tr");
    for (const name of names) {
      const isAll = DIMENSIONS.some((dimension) => COLUMNS[dimension] === name && made[`is_all_${dimension}s`]);
      const cell = isAll ? "(all)" : made[name] === null ? "" : String(made[name]);
      line.append(element("td", cell, typeof made[name] === "number" ? { class: "number" } : {}));
    }
    table.append(line);
  }
  return table;
}

// A spreadsheet takes a text that begins with one of these signs for a formula, unless an apostrophe stands before it.
function csv(records) {
  const cell = (content) => {
    if (content === null) return "";
    const text = typeof content === "string" && /^[=+\-@\t\r]/.test(content) ? `'${content}` : String(content);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const names = Object.keys(records[0] ?? {});
  return [names, ...records.map((made) => names.map((name) => made[name]))].map((line) => line.map(cell).join(",")).join("\r\n");
}

function download(name, text) {
  const link = element("a", "", { download: name, href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) });
  link.click();
  URL.revokeObjectURL(link.href);
}

function quoted(text) { return `'${text.replaceAll("'", "''")}'`; }

function sqlOf(metrics, periods, isByTemplate) {
  const listed = (texts) => texts.map(quoted).join(", ");
  const conditions = [`metric in (${listed(metrics)})`, `period in (${listed(periods)})`, "is_all_customers"];
  for (const dimension of DIMENSIONS) {
    const place = chosen[dimension];
    const name = told.names[dimension][place];
    if (place === ALL) conditions.push(`${dimension === "template" && isByTemplate ? "not " : ""}is_all_${dimension}s`);
    else conditions.push(`not is_all_${dimension}s`, name === null ? `${COLUMNS[dimension]} is null` : `${COLUMNS[dimension]} = ${quoted(name)}`);
  }
  return `select * from rpt_metrics\nwhere ${conditions.join("\n    and ")}\norder by template_key, metric, step_number, period, period_start;`;
}

function show() {
  for (const dimension of DIMENSIONS) document.getElementById(dimension).value = String(chosen[dimension]);
  document.getElementById("grain").value = chosen.grain;
  showCards();
  showFunnel();
  showConversion();
  // Says that everything is drawn, for whoever waits for it.
  drawn = drawn.then(() => { document.body.dataset.drawn = location.hash; });
}

makeFilters();
readAddress();
showHeader();
show();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
