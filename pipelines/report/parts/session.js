// What happened in one session: its events in time, and one after the other.

const LARGEST_NUMBER = 2n ** 63n - 1n;
// A wait is named in the picture where it takes up so much of the session's time.
const LONG_WAIT = 0.08;

const sessions = new Map(told.people === null ? [] : recordsOf(told.people.sessions).map((row) => [row.embed_id, { ...row, events: [] }]));
if (told.people !== null) for (const event of recordsOf(told.people.events)) sessions.get(event.embed_id).events.push(event);

// A session's number as the warehouse writes it; null where the text is not one.
function sessionNumber(text) {
  const digits = text.trim();
  if (!/^[0-9]{1,30}$/.test(digits)) return null;
  const number = BigInt(digits);
  return number <= LARGEST_NUMBER ? String(number) : null;
}

function makeSessionForm() {
  document.getElementById("session-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = document.getElementById("session-number").value;
    const number = sessionNumber(text);
    if (number !== null) chooseSession(number);
    else document.getElementById("session-about").textContent = `“${text}” is not the number of a session.`;
  });
}

function chooseSession(number) {
  chosen.session = number;
  writeAddress();
  showSections(showSession);
}

function showSession() {
  const section = document.getElementById("session");
  const about = document.getElementById("session-about");
  const list = document.getElementById("session-events");
  const session = sessions.get(chosen.session);
  document.getElementById("session-number").value = chosen.session ?? "";
  document.getElementById("session-drawing").hidden = session === undefined;
  section.classList.toggle("shown", session !== undefined);
  list.replaceChildren();
  if (session !== undefined) {
    about.textContent = aboutSession(session);
    drawSession(session.events);
    list.append(tableOfEvents(session.events));
    explain("session", session.events, sqlOfSession(), told.people.events.definition);
    return;
  }
  section.querySelectorAll("details").forEach((part) => part.remove());
  about.textContent = chosen.session === null ? aboutSessions() : `Session ${chosen.session} is not on this page. The SQL asks the warehouse. ${aboutSessions()}`;
  if (chosen.session === null) return;
  const query = queryOf(sqlOfSession());
  query.open = true;
  section.append(query);
}

function sqlOfSession() { return `from rpt_embed_timeline where embed_id = ${chosen.session} order by event_number;`; }

function aboutSessions() {
  if (told.people === null) return "This page holds no session. For the number of one it has the SQL; embed-analytics report --with-people writes a page that holds sessions.";
  return `This page holds ${counted(sessions.size)} sessions: those that are stuck, then those with the latest events, up to ${counted(told.people.most.events)} events `
    + `(none with more than ${counted(told.people.most.events_of_a_session)}).`;
}

function aboutSession(session) {
  const { events } = session;
  const first = events[0].occurred_at;
  const last = events[events.length - 1].occurred_at;
  return `Session ${session.embed_id}: ${session.outcome}. ${whoIs(session)}; template ${visible(session.template_key)}, environment ${visible(session.environment_name)}. `
    + `${counted(events.length)} events from ${moment(first)} to ${moment(last)} UTC.`;
}

function moment(time) { return time.slice(0, 19).replace("T", " "); }

function errorsOf({ error_count: errors }) { return errors === null ? "" : errors === 1 ? "1 error" : `${counted(errors)} errors`; }

function whatOf(event) { return [event.operation, event.import_type, event.trigger_type].filter((part) => part !== null).join(", "); }

function tableOfEvents(events) {
  const table = element("table", "", { class: "listed" });
  const head = element("tr");
  head.append(...["", "Time (UTC)", "After", "Event", "What, and by whom", "Errors reported"].map((title) => (title ? element("th", title, { scope: "col" }) : element("td"))));
  table.append(head);
  for (const event of events) {
    const line = element("tr");
    line.append(
      element("td", String(event.event_number), { class: "number" }),
      element("td", moment(event.occurred_at), { class: "short" }),
      element("td", event.seconds_since_previous === null ? "" : duration(event.seconds_since_previous), { class: "number short" }),
      element("td", event.event_type, { class: "outside" }),
      element("td", whatOf(event), { class: "outside" }),
      element("td", errorsOf(event)),
    );
    table.append(line);
  }
  const wrapped = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" });
  wrapped.append(table);
  return wrapped;
}

function drawSession(events) {
  const lanes = [...new Set(events.map((event) => event.event_type))];
  const values = events.map((event) => ({
    at: event.occurred_at, time: moment(event.occurred_at), lane: event.event_type, number: event.event_number, what: whatOf(event), errors: errorsOf(event),
    after: event.seconds_since_previous === null ? "" : duration(event.seconds_since_previous),
  }));
  const times = events.map((event) => Date.parse(event.occurred_at));
  const whole = times[times.length - 1] - times[0];
  const waits = events.slice(1)
    .map((event, place) => ({ from: times[place], to: times[place + 1], lane: events[place].event_type, wait: duration(event.seconds_since_previous) }))
    .filter(({ from, to }) => to - from > whole * LONG_WAIT)
    .map((wait) => ({ ...wait, at: (wait.from + wait.to) / 2 }));
  const x = { field: "at", type: "temporal", title: null, scale: { type: "utc", nice: false, padding: 12 }, axis: { grid: true, tickCount: 6, format: { hours: "%H:%M" } } };
  const y = { field: "lane", type: "nominal", sort: lanes, title: null, axis: { labelLimit: 240, ticks: false, grid: true } };
  const tooltip = [
    { field: "number", title: "event" }, { field: "lane", title: "what" }, { field: "time", title: "time (UTC)" },
    { field: "after", title: "after" }, { field: "what", title: "details" }, { field: "errors", title: "errors" },
  ];
  draw("session", {
    data: { values },
    width: 640,
    height: { step: 30 },
    layer: [
      { mark: { type: "line", interpolate: "step-after", strokeWidth: 1.5, color: styled("quiet") }, encoding: { x, y, order: { field: "number" } } },
      { data: { values: waits }, mark: { type: "rule", strokeWidth: 5, opacity: 0.5, color: styled("skipped") }, encoding: { x: { ...x, field: "from" }, x2: { field: "to" }, y } },
      { data: { values: waits }, mark: { type: "text", baseline: "top", dy: 4, fontSize: 10, color: styled("text") }, encoding: { x, y, text: { field: "wait" } } },
      { mark: { type: "point", filled: true, size: 60, opacity: 1, color: styled("performed") }, encoding: { x, y, tooltip } },
      { mark: { type: "text", align: "left", baseline: "bottom", dx: 4, dy: -3, fontSize: 10, color: styled("text") }, encoding: { x, y, text: { field: "errors" } } },
    ],
  }, `The ${events.length} events of session ${chosen.session} in time. The same are in the table below.`);
}
