// Repair: which errors and which operations stand in the same sessions.

function showRepair() {
  const rows = chosenRows("rpt_repairs");
  const values = rows.map((row) => ({
    x: labelled(row.operation, row.has_operation ? "(not said)" : "no operation", ["(not said)", "no operation"]), y: labelled(row.error_code),
    sessions: row.session_count, share: row.submitted_rate, isFew: row.session_count < FEW_SESSIONS,
    told: sharesTold(row, "submitted", row.session_count),
  }));
  document.getElementById("repair-about").textContent = rows.length === 0
    ? "No error was counted in sessions of the last 28 mature days."
    : "Sessions of the last 28 mature days with both the error, in any column, and the operation by the user. The size is how many, the "
      + `colour the share that submitted; grey are fewer than ${FEW_SESSIONS} sessions. It does not say that the operation repaired the error.`
      + leftOutPairs(rows, "rpt_repairs");
  draw("repair", rows.length === 0 ? null : bubbles(values, {
    shareTitle: "submitted",
    palette: ["good-0", "good-1", "good-2"],
    isFromZero: false,
    tooltip: [{ field: "y", title: "code" }, { field: "x", title: "operation" }, { field: "told", title: "submitted" }],
  }), `Error codes and operations by the share of their sessions that submitted: ${rows.length} pairs. The same numbers are in the table below.`);
  explain("repair", rows, sqlOfTable("rpt_repairs", { where: [`pair_number <= ${rows.length}`], order: "pair_number" }), told.tables.rpt_repairs.definition);
}
