// Why they leave: what became of sessions with an error.

function showLeaving() {
  const rows = chosenRows("rpt_error_outcomes");
  const values = rows.map((row) => ({
    x: labelled(row.error_code), y: labelled(row.column_key), sessions: row.session_count, share: row.unsubmitted_rate,
    isFew: row.session_count < FEW_SESSIONS,
    withIt: sharesTold(row, "unsubmitted", row.session_count),
    without: sharesTold(row, "other_unsubmitted", row.other_session_count),
    odds: row.odds_ratio === null ? "not known" : `${ratio(row.odds_ratio)} (95 %: ${ratio(row.odds_ratio_low)} to ${ratio(row.odds_ratio_high)})`,
  }));
  const unknown = rows[0]?.unknown_count ?? 0;
  document.getElementById("leaving-about").textContent = rows.length === 0
    ? "No error was counted in sessions of the last 28 mature days."
    : "Sessions of the last 28 mature days that had the error in the column when errors were first counted. The size is how many, the "
      + `colour the share that never submitted; grey are fewer than ${FEW_SESSIONS} sessions. What goes with leaving need not be its cause.`
      + (unknown > 0 ? ` ${counted(unknown)} sessions that reached the mapping are left out: they skipped it, or their errors are not known.` : "")
      + leftOutPairs(rows, "rpt_error_outcomes");
  draw("leaving", rows.length === 0 ? null : bubbles(values, {
    shareTitle: "never submitted",
    palette: ["bad-0", "bad-1", "bad-2"],
    isFromZero: true,
    tooltip: [
      { field: "y", title: "column" }, { field: "x", title: "code" },
      { field: "withIt", title: "never submitted, with it" }, { field: "without", title: "without it" },
      { field: "odds", title: "odds of submitting, with over without, within templates" },
    ],
  }), `Columns and error codes by the share of their sessions that never submitted: ${rows.length} pairs. The same numbers are in the table below.`);
  explain("leaving", rows, sqlOfTable("rpt_error_outcomes", { where: [`pair_number <= ${rows.length}`], order: "pair_number" }), told.tables.rpt_error_outcomes.definition);
}

// A share of some sessions, as `name`_count, `name`_rate and its interval.
function sharesTold(row, name, sessions) {
  if (sessions === 0) return "no sessions";
  const [rate, low, high] = ["", "_low", "_high"].map((end) => share(row[`${name}_rate${end}`]));
  return `${rate} (95 %: ${low} to ${high}), ${counted(row[`${name}_count`])} of ${counted(sessions)}`;
}

function ratio(number) { return number === null ? "not known" : number.toPrecision(2); }
