// A colour of the style by its name, so that what is drawn follows light, dark and print by itself.
function styled(name) { return `var(--${name})`; }

// The same as it is now, for scales that mix colours.
function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

let drawn = Promise.resolve();

function draw(id, spec, label) {
  const place = document.getElementById(`${id}-drawing`);
  // One after the other, so that the last choice is what stays.
  drawn = drawn.then(async () => {
    place.replaceChildren();
    place.setAttribute("aria-label", label);
    if (spec === null) { place.append(element("p", "No sessions.", { class: "quiet" })); return; }
    const axis = { labelColor: styled("text"), gridColor: styled("line"), domainColor: styled("line"), tickColor: styled("line") };
    const words = { labelColor: styled("text"), titleColor: styled("text") };
    const config = { background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, axis, legend: words, header: words };
    // Vega puts the description where the label was.
    await vegaEmbed(place, { ...spec, description: label, config }, { mode: "vega-lite", renderer: "svg", actions: false });
  });
}
