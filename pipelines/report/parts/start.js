function show() {
  for (const dimension of DIMENSIONS) document.getElementById(dimension).value = String(chosen[dimension]);
  document.getElementById("grain").value = chosen.grain;
  for (const showSection of [showCards, showFunnel, showConversion]) showSection();
  // Says that everything is drawn, for whoever waits for it.
  drawn = drawn.then(() => { document.body.dataset.drawn = location.hash; });
}

makeFilters();
readAddress();
showHeader();
show();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
