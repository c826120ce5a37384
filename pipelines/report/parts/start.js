function show() {
  for (const dimension of DIMENSIONS) document.getElementById(dimension).value = String(chosen[dimension]);
  document.getElementById("grain").value = chosen.grain;
  showSections(showCards, showFunnel, showConversion, showLeaving, showRepair, showTimes, showSpans, showCustomers, showStuck, showCompleteness, showSession);
}

function showSections(...sections) {
  for (const showSection of sections) showSection();
  // Says that everything is drawn, for whoever waits for it.
  drawn = drawn.then(() => { document.body.dataset.drawn = location.hash; });
}

makeFilters();
makeSessionForm();
readAddress();
showHeader();
show();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
