"use strict";
// Shows rows of rpt_metrics, and computes none of its numbers. Text from outside reaches the page as text alone: by
// textContent here, as data in the drawings.
const told = JSON.parse(document.getElementById("told").textContent);
const ALL = -1;
const AT = Object.fromEntries(told.fields.map((field, place) => [field, place]));
const COLUMNS = { environment: "environment_name", template: "template_key", plan: "plan" };
const DIMENSIONS = Object.keys(COLUMNS);
const chosen = { environment: ALL, template: ALL, plan: ALL, grain: "week", session: null };

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
