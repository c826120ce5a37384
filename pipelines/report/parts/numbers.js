// The four numbers.

const CARDS = [
  { title: "Sessions", metrics: ["sessions"], written: counted },
  { title: "Submitted", metrics: ["submitted"], written: share },
  { title: "Delivered, of submitted ones whose delivery is known", metrics: ["delivered"], written: share },
  {
    title: "From upload to submission: median, 90th percentile",
    metrics: ["seconds_to_submit_median", "seconds_to_submit_p90"],
    written: duration,
  },
];

function showCards() {
  const cards = document.getElementById("cards");
  cards.replaceChildren();
  const shown = [];
  for (const { title, metrics, written } of CARDS) {
    const card = element("article", "", { class: "card" });
    card.append(element("h3", title));
    for (const metric of metrics) {
      for (const [period, words] of [["last_28_days", ""], ["previous_28_days", "28 days before: "]]) {
        const row = one(metric, period);
        const text = row === null ? "no sessions" : written(value(row));
        const line = element("p", words + text, { "data-metric": metric, "data-period": period, "data-value": String(value(row)) });
        if (period === "last_28_days") line.className = "value";
        const about = !value(row, "denominator") ? "" : outOf(row) + interval(row, written);
        card.append(line);
        if (about) card.append(element("p", about));
        if (row !== null) shown.push(row);
      }
    }
    cards.append(card);
  }
  const [last] = shown;
  const young = value(one("sessions", "since"), "numerator") ?? 0;
  document.getElementById("numbers-period").textContent = (last === undefined
    ? "No session began on a mature day of the last 56. "
    : `Sessions that began on the 28 days from ${told.starts[last[AT.start]]}, beside the 28 days before. `)
    + `${counted(young)} that began since are too young to be compared, and left out.`;
  document.getElementById("numbers-period").dataset.young = young;
  explainMetrics("numbers", shown, CARDS.flatMap((card) => card.metrics), ["last_28_days", "previous_28_days"]);
}
