// Of which days it is known that every event is held.

const MOST_DAYS = 14;

function showCompleteness() {
  const everything = { environment: ALL, template: ALL, plan: ALL };
  const [complete, unproven, incomplete] = ["complete_days", "unproven_days", "incomplete_days"]
    .map((metric) => counted(value(one(metric, "now", null, everything))));
  const rows = rowsOf("meta_completeness");
  const listed = rows.slice(0, MOST_DAYS);
  document.getElementById("completeness-about").textContent = `Days of an environment: ${incomplete} incomplete, `
    + `${unproven} complete as far as the source can say, ${complete} complete, whatever is chosen above. `
    + `The worst ${counted(listed.length)} are listed, then the latest; ${counted(rows.length)} are in the rows, and the SQL gives all.`;
  const list = document.getElementById("completeness-list");
  list.replaceChildren();
  if (listed.length > 0) list.append(tableOfDays(listed));
  explain("completeness", rows, sqlOfDays(), told.tables.meta_completeness.definition);
}

function sqlOfDays() {
  return "select * from meta_completeness\norder by verdict = 'complete', verdict <> 'incomplete', event_date desc, environment_name;";
}

function tableOfDays(rows) {
  const table = element("table", "", { class: "listed" });
  const head = element("tr");
  head.append(...["Day (UTC)", "Environment", "Verdict", "Why"].map((title) => element("th", title, { scope: "col" })));
  table.append(head);
  for (const row of rows) {
    const line = element("tr");
    line.append(
      element("th", row.event_date, { scope: "row" }),
      element("td", visible(row.environment_name), { class: "outside" }),
      element("td", row.verdict),
      element("td", row.reason),
    );
    table.append(line);
  }
  const wrapped = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Days" });
  wrapped.append(table);
  return wrapped;
}
