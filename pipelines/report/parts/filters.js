// What is chosen, and the address that keeps it.

const GRAINS = ["day", "week", "month"];

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
  const session = asked.get("session");
  chosen.session = session === null ? null : sessionNumber(session);
  if (session !== null && chosen.session === null) missing.push(`session ${session}`);
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
  if (chosen.session !== null) asked.set("session", chosen.session);
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
