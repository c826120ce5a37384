// Who is stuck now: how many, and with --with-people who, on what, and whether such sessions finish.

const MOST_LISTED = 25;

function showStuck() {
  const counts = ["stuck", "stuck_helpable"].map((metric) => one(metric, "now"));
  // A choice without such a session has no row.
  const [stuck, helpable] = counts.map((row) => (row === null ? 0 : value(row)));
  const about = document.getElementById("stuck-about");
  about.dataset.stuck = stuck;
  about.dataset.helpable = helpable;
  about.textContent = `Open sessions that stopped moving: ${counted(stuck)}. Of these ${counted(helpable)} can still be helped: `
    + "their last event is at most 2 hours before the end of the data. ";
  const list = document.getElementById("stuck-list");
  list.replaceChildren();
  if (told.people === null) {
    about.textContent += "Who they are is not on this page. The SQL lists them, and so does the page that embed-analytics report --with-people writes.";
    const metrics = sqlOfMetrics(["stuck", "stuck_helpable"], ["now"], false);
    explain("stuck", counts.filter((row) => row !== null).map(record), `${metrics}\n\n-- Who they are:\n${sqlOfStuck()}`, told.definition);
    return;
  }
  const rows = recordsOf(told.people.stuck).filter(isOfChoice);
  const listed = rows.slice(0, MOST_LISTED);
  if (stuck > listed.length) {
    about.textContent += `The first ${listed.length} are listed`
      + (stuck > rows.length ? `, ${rows.length} are in the rows, and the SQL gives all. ` : ", and all are in the rows. ");
  }
  about.textContent += "“May finish” is the share that still submitted, of sessions that were once idle at the same step for at least as long.";
  if (listed.length > 0) list.append(tableOfStuck(listed));
  explain("stuck", rows, sqlOfStuck(), told.people.stuck.definition);
}

function isOfChoice(row) {
  return DIMENSIONS.every((dimension) => chosen[dimension] === ALL || row[COLUMNS[dimension]] === told.names[dimension][chosen[dimension]]);
}

function sqlOfStuck() {
  const conditions = DIMENSIONS.filter((dimension) => chosen[dimension] !== ALL).map(isChosen);
  return `select * from rpt_stuck_embeds${conditions.length ? `\nwhere ${conditions.join("\n    and ")}` : ""}\norder by can_still_be_helped desc, priority;`;
}

function tableOfStuck(rows) {
  const table = element("table", "", { class: "listed" });
  const head = element("tr");
  head.append(...["Session", "Can be helped", "Who", "Template", "Stuck at", "Idle", "May finish"].map((title) => element("th", title, { scope: "col" })));
  table.append(head);
  for (const row of rows) {
    const line = element("tr");
    const session = element("th", "", { scope: "row" });
    session.append(button(row.embed_id, () => {
      chooseSession(row.embed_id);
      document.getElementById("session-title").focus();
    }));
    session.firstChild.setAttribute("aria-label", `Session ${row.embed_id}: show what happened`);
    const chance = element("td", row.similar_submitted_rate === null ? "not known" : share(row.similar_submitted_rate), { class: "chance" });
    chance.append(element("div", chanceOf(row), { class: "quiet" }));
    line.append(
      session,
      element("td", row.can_still_be_helped ? "yes" : "most likely left"),
      element("td", whoIs(row), { class: "outside" }),
      element("td", visible(row.template_key), { class: "outside" }),
      element("td", stuckAt(row), { class: "outside" }),
      element("td", duration(row.idle_seconds), { class: "short" }),
      chance,
    );
    table.append(line);
  }
  const wrapped = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Stuck sessions" });
  wrapped.append(table);
  return wrapped;
}

function whoIs({ customer_name: name, customer_id: id, user_id: user, plan }) {
  return [name ?? id, user, plan].filter((part) => part !== null).map(visible).join(", ") || "(not known)";
}

function stuckAt(row) {
  if (row.worst_column_key === null) return row.step;
  return `${row.step}: ${visible(row.worst_column_key)}, ${visible(row.worst_error_code)} (${counted(row.worst_error_count)} of ${counted(row.last_error_count)} errors)`;
}

function chanceOf(row) {
  if (row.similar_submitted_rate === null) return "no session was like it";
  return `${toldOf(row.similar_submitted_count, row.similar_count)}, ${row.is_same_template ? "this template" : "all templates"}; `
    + `95 %: ${share(row.similar_submitted_rate_low)} to ${share(row.similar_submitted_rate_high)}`;
}
