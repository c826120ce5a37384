// The customers whose conversion moved, the worst falls first.

const MOST_CUSTOMERS = 12;

function showCustomers() {
  const about = document.getElementById("customers-about");
  const drawing = document.getElementById("customers-drawing");
  drawing.hidden = true;
  if (told.customers === null) {
    about.textContent = "To see who converts less than before, set EMBED_ANALYTICS_CUSTOMER_CLAIM to the path of the claim with "
      + "the customer's name (org.name), and EMBED_ANALYTICS_CUSTOMER_ID_CLAIM to that with the id. The next refresh reads them.";
    return;
  }
  const template = chosen.template === ALL ? null : told.names.template[chosen.template];
  const held = recordsOf(told.customers).filter((row) => row.is_all_templates === (chosen.template === ALL) && row.template_key === template);
  const most = held[0]?.customer_count ?? 0;
  const drawn = held.slice(0, MOST_CUSTOMERS);
  about.textContent =
    `Submitted sessions of each customer with at least ${told.customers.fewest_sessions} sessions in the last 28 mature days and in the 28 `
    + "before; worst falls first, and before them the falls beyond the 95 % interval. "
    + (most > drawn.length ? `The worst ${drawn.length} of ${counted(most)} are drawn` : `${counted(most)} are compared`)
    + (most > held.length ? `, the worst ${held.length} are in the rows, and the SQL gives all. ` : ". ")
    + (chosen.environment === ALL && chosen.plan === ALL ? "" : "Customers are counted in all environments and plans, whatever is chosen above.");
  drawing.hidden = drawn.length === 0;
  if (drawn.length > 0) drawCustomers(drawn);
  const rows = held.map(({ customer_count: _, ...row }) => row);
  explain("customers", rows, sqlOfCustomers(template), told.customers.definition);
}

function sqlOfCustomers(template) {
  const condition = chosen.template === ALL ? "latest.is_all_templates"
    : `not latest.is_all_templates and latest.template_key ${template === null ? "is null" : `= ${quoted(template)}`}`;
  return `${told.customers.sql}\n    and ${condition}\norder by ${told.customers.order};`;
}

function drawCustomers(rows) {
  const names = customerNames(rows);
  const values = rows.flatMap((row, place) => [
    { place, name: names[place], kind: "28 days before", share: row.rate_before, low: row.rate_before_low, high: row.rate_before_high, told: toldOf(row.submitted_before, row.sessions_before) },
    { place, name: names[place], kind: row.fell_beyond_interval ? "fell beyond its interval" : "last 28 mature days", share: row.rate, low: row.rate_low, high: row.rate_high, told: toldOf(row.submitted, row.sessions) },
  ]);
  const changes = rows.map((row, place) => ({ name: names[place], label: `${share(row.rate_before)} → ${share(row.rate)}` }));
  const kinds = ["28 days before", "last 28 mature days", "fell beyond its interval"];
  const y = { field: "name", type: "nominal", sort: names, title: null, axis: { labelLimit: 260, ticks: false }, scale: { paddingInner: 0.15, paddingOuter: 0.05 } };
  const x = { field: "share", type: "quantitative", title: null, axis: { format: "%" }, scale: { domain: [0, 1] } };
  const offset = { field: "kind", scale: { domain: ["28 days before", "now"] } };
  const color = { field: "kind", title: null, scale: { domain: kinds, range: [styled("quiet"), styled("performed"), styled("alarm")] }, legend: { orient: "top", symbolOpacity: 1 } };
  const tooltip = [{ field: "name", title: "customer" }, { field: "kind", title: "period" }, { field: "share", format: ".1%", title: "submitted" }, { field: "told", title: "sessions" }];
  draw("customers", {
    data: { values },
    transform: [{ calculate: "datum.kind === '28 days before' ? datum.kind : 'now'", as: "side" }],
    width: 480,
    height: rows.length * 26,
    layer: [
      { mark: { type: "rule", strokeWidth: 2, opacity: 0.55 }, encoding: { y, yOffset: { ...offset, field: "side" }, x: { ...x, field: "low" }, x2: { field: "high" }, color, tooltip } },
      { mark: { type: "point", size: 50, opacity: 1, filled: true }, encoding: { y, yOffset: { ...offset, field: "side" }, x, color, tooltip, shape: { field: "kind", title: null, scale: { domain: kinds, range: ["circle", "circle", "diamond"] } } } },
      { data: { values: changes }, mark: { type: "text", align: "left", dx: 8, color: styled("text") }, encoding: { y, x: { value: 480 }, text: { field: "label" } } },
    ],
  }, `Conversion of ${rows.length} customers, before and now. The same numbers are in the table below.`);
}

function toldOf(numerator, denominator) { return `${counted(numerator)} of ${counted(denominator)}`; }

// What each is called: two customers may have one name, and then have their ids behind it.
function customerNames(rows) {
  const names = rows.map((row) => row.customer_name ?? row.customer_id);
  return rows.map(({ customer_id: id }, place) => {
    const name = visible(names[place]);
    return names.indexOf(names[place]) === names.lastIndexOf(names[place]) ? name : `${name} (${id})`;
  });
}
