// Whether to believe the page.

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
    ["incomplete_days", "Days incomplete", true],
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
    + "Every number is a row of rpt_metrics, or of the view in its SQL, in warehouse.duckdb.";
}
