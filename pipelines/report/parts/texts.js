// How numbers, durations and names are written.

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
  return visible(name);
}

// A name from outside, so that something is seen where it is blank or missing.
function visible(name) {
  if (name === null) return "(not known)";
  return name.trim() === "" ? `“${name}”` : name;
}

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, content] of Object.entries(attributes)) made.setAttribute(name, content);
  return made;
}

function outOf(row) {
  if (value(row, "denominator") === null) return "";
  const n = counted(value(row, "denominator"));
  return value(row, "numerator") === null ? `n = ${n}. ` : `${counted(value(row, "numerator"))} of ${n}. `;
}
