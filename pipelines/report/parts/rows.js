// Under each picture: its rows, their SQL, what they mean.

// `records`: objects with the same keys. Under rows of rpt_metrics, see explainMetrics.
function explain(id, records, sql, definition) {
  const section = document.getElementById(id);
  const open = [...section.querySelectorAll("details")].map((part) => part.open);
  section.querySelectorAll("details").forEach((part) => part.remove());
  const table = details("Rows");
  const wrapped = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rows" });
  wrapped.append(tableOf(records));
  table.append(button("Download as CSV", () => download(`${id}.csv`, csv(records))), wrapped);
  const query = queryOf(sql);
  const meaning = details("Definitions");
  meaning.append(element("p", definition, { class: "quiet" }));
  section.append(table, query, meaning);
  [table, query, meaning].forEach((part, place) => { part.open = open[place] ?? false; });
}

function explainMetrics(id, rows, metrics, periods, { isByTemplate = false } = {}) {
  explain(id, rows.map(record), sqlOfMetrics(metrics, periods, isByTemplate), told.definition);
}

function queryOf(sql) {
  const made = details("SQL");
  made.append(element("pre", sql), button("Copy", () => navigator.clipboard.writeText(sql)));
  return made;
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

// What is chosen, as conditions on the columns that rpt_metrics has for it.
function chosenConditions(isByTemplate) {
  return DIMENSIONS.flatMap((dimension) => {
    if (chosen[dimension] === ALL) return [`${dimension === "template" && isByTemplate ? "not " : ""}is_all_${dimension}s`];
    return [`not is_all_${dimension}s`, isChosen(dimension)];
  });
}

function isChosen(dimension) {
  const name = told.names[dimension][chosen[dimension]];
  return `${COLUMNS[dimension]} ${name === null ? "is null" : `= ${quoted(name)}`}`;
}

function sqlOfMetrics(metrics, periods, isByTemplate) {
  const listed = (texts) => texts.map(quoted).join(", ");
  const conditions = [
    `metric in (${listed(metrics)})`, `period in (${listed(periods)})`, "is_all_customers", ...chosenConditions(isByTemplate),
  ];
  return `select * from rpt_metrics\nwhere ${conditions.join("\n    and ")}\norder by template_key, metric, step_number, period, period_start;`;
}
