// The page of `agent dev`: an ordinary LiveKit client. All it knows of the agent came through the room.

const { Room, RoomEvent, Track, ParticipantKind } = window.LivekitClient;

const $ = (id) => document.getElementById(id);
const bubbles = new Map(); // segment id → the list item of its words
const SHOWN = { "lk.agent.state": "state", "session.state": "call", "session.agent": "agent", "session.panels": "panels", "session.id": "id" };

let room = null;
let session = null;

// --- before the call

const chosen = () => document.querySelector("input[name=bundle]:checked")?.value;

async function showBundles() {
  const before = chosen() ?? localStorage.getItem("bundle");
  const bundles = await (await fetch("/api/bundles")).json();
  $("bundles").replaceChildren(
    ...bundles.map((bundle) => {
      const card = $("bundle-card").content.cloneNode(true);
      card.querySelector("input").value = bundle.name;
      card.querySelector("input").checked = bundle.name === before;
      card.querySelector(".title").textContent = bundle.title;
      card.querySelector("code").textContent = `${bundle.name} · ${bundle.agents.join(", ")}`;
      card.querySelector(".description").textContent = bundle.description;
      return card;
    }),
  );
  if (!chosen() && bundles.length) document.querySelector("input[name=bundle]").checked = true;
  $("join").disabled = !bundles.length;
  if (bundles.length) problem("");
  else {
    problem("No bundle can be started yet: the worker is starting, or see its log in the terminal.");
    setTimeout(showBundles, 1500);
  }
}

const touched = new Set(); // sliders that were moved; the others stay as the bundle has them
for (const slider of document.querySelectorAll("#voice input")) {
  slider.addEventListener("input", () => {
    touched.add(slider.name);
    slider.parentElement.querySelector("output").textContent = slider.value;
  });
}

function overrides() {
  const tuning = {};
  for (const name of touched) tuning[name] = Number(document.querySelector(`#voice input[name=${name}]`).value);
  return touched.size ? { voice_tuning: tuning } : {};
}

function person() {
  let id = localStorage.getItem("person");
  if (!id) localStorage.setItem("person", (id = `dev-${crypto.randomUUID().slice(0, 8)}`));
  return id;
}

// --- the call

async function join() {
  localStorage.setItem("bundle", chosen());
  clear();
  busy(true);
  status("starting");
  try {
    const answer = await fetch("/api/sessions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ bundle: chosen(), user_id: person(), overrides: overrides() }),
    });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error);
    session = body;
    room = new Room({ disconnectOnPageLeave: true });
    listen(room);
    await room.connect(body.url, body.token);
    for (const participant of room.remoteParticipants.values()) showAgent(participant);
    await room.startAudio();
    inCall(true);
    showLive(session.session_id);
    await room.localParticipant.setMicrophoneEnabled(true).catch((error) => problem(`No microphone (${error.message}). You can write instead.`));
  } catch (error) {
    problem(error.message);
    status("not in a call");
    await room?.disconnect();
    busy(false);
  }
}

function listen(to) {
  to.on(RoomEvent.TrackSubscribed, (track) => track.kind === Track.Kind.Audio && document.body.append(track.attach()));
  to.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()));
  to.on(RoomEvent.ParticipantConnected, showAgent);
  to.on(RoomEvent.ParticipantAttributesChanged, (_changed, participant) => showAgent(participant));
  to.on(RoomEvent.Reconnecting, () => status("connecting again"));
  to.on(RoomEvent.Disconnected, left);
  to.registerTextStreamHandler("session.events", async (reader) => showEvent(JSON.parse(await reader.readAll())));
  to.registerTextStreamHandler("lk.transcription", showWords);
}

function left() {
  status("not in a call");
  inCall(false);
  busy(false);
  for (const bubble of bubbles.values()) bubble.classList.remove("growing");
  offerTranscript(session.session_id, 120);
}

// The record is made by the worker when the call is over, which it is once the agent has waited for us in vain.
async function offerTranscript(id, tries) {
  const link = `/api/transcripts/${encodeURIComponent(id)}`;
  const answer = await fetch(link);
  if (session.session_id !== id) return;
  if (answer.status === 200 && (await answer.json()).ended_at) {
    $("transcript").href = link;
    $("after").hidden = false;
  } else if (tries) setTimeout(offerTranscript, 500, id, tries - 1);
}

// --- what reaches us

async function showWords(reader, sender) {
  const attributes = reader.info.attributes ?? {};
  const key = `${sender.identity} ${attributes["lk.segment_id"] ?? reader.info.id}`;
  const mine = sender.identity === room?.localParticipant.identity;
  let bubble = bubbles.get(key);
  if (!bubble) {
    bubble = document.createElement("li");
    bubble.className = mine ? "user" : "agent";
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = mine ? "you" : (agent()?.attributes["session.agent"] ?? "agent");
    bubble.append(who, document.createElement("span"));
    bubbles.set(key, bubble);
  }
  bubble.classList.add("growing");
  let text = "";
  for await (const part of reader) {
    text += part;
    bubble.lastChild.textContent = text;
    if (text.trim() && !bubble.isConnected) $("words").append(bubble);
    $("words").lastChild?.scrollIntoView({ block: "nearest" });
  }
  if ((reader.info.attributes?.["lk.transcription_final"] ?? "true") === "true") bubble.classList.remove("growing");
}

function showEvent(event) {
  const { type, session_id: _id, seq: _seq, at, ...rest } = event;
  if (type === "handoff") turn(`${rest.from} hands over to ${rest.to}`);
  if (type === "resumed") turn("the agent is back");
  if (type === "ended") turn(`the call ended: ${rest.reason}`);
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date(at).toLocaleTimeString();
  const name = document.createElement("span");
  name.className = "type";
  name.textContent = type;
  item.append(time, name);
  if (rest.digest) rest.digest = rest.digest.slice(0, 19);
  const fields = Object.entries(rest).filter(([, value]) => !(Array.isArray(value) && !value.length));
  if (fields.length) {
    const detail = document.createElement("pre");
    detail.textContent = fields.map(([key, value]) => (key === "verdicts" ? value.map(verdict).join("\n") : `${key}: ${plain(value)}`)).join("\n");
    item.append(detail);
  }
  $("events").prepend(item);
}

const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function verdict({ path, verdict, reason, applied }) {
  const shown = applied === undefined || applied === null ? "" : ` ${plain(applied)}`;
  return `${path}: ${verdict}${shown}${verdict === "applied" ? "" : ` (${reason})`}`;
}

const agent = () => room && [...room.remoteParticipants.values()].find((one) => one.kind === ParticipantKind.AGENT);

function showAgent(participant) {
  if (participant.kind !== ParticipantKind.AGENT) return;
  const rows = Object.entries(SHOWN).filter(([name]) => !["", "[]", undefined].includes(participant.attributes[name]));
  $("attributes").replaceChildren(
    ...rows.flatMap(([name, label]) => {
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      term.textContent = label;
      term.title = name;
      value.textContent = participant.attributes[name];
      return [term, value];
    }),
  );
  status(participant.attributes["lk.agent.state"] ?? "agent is here");
}

// Config, verdicts and timers, as the worker has them: asked for while the call lasts.
async function showLive(id) {
  if (session?.session_id !== id || !room) return;
  const answer = await fetch(`/api/sessions/${encodeURIComponent(id)}`);
  if (answer.status === 200 && session?.session_id === id) {
    const live = await answer.json();
    $("timers").replaceChildren(...live.timers.map((timer) => row("li", `${timer.name}: ${Math.round(timer.seconds)} s${timer.after ? ` after ${timer.after}` : ""}`)));
    $("verdicts").replaceChildren(...live.verdicts.map((one) => row("li", verdict(one))));
    $("values").replaceChildren(
      ...live.values.flatMap(([path, value, origin]) => {
        const shown = row("dd", value);
        shown.title = origin;
        shown.append(row("small", origin));
        return [row("dt", path), shown];
      }),
    );
  }
  if (room.state !== "disconnected") setTimeout(showLive, 1000, id);
}

// --- small things on the page

function row(kind, text) {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}

function status(text) {
  $("status").textContent = text;
  $("status").dataset.state = text;
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function turn(text) {
  const item = document.createElement("li");
  item.className = "turn";
  item.textContent = text;
  $("words").append(item);
  item.scrollIntoView({ block: "nearest" });
}

function busy(yes) {
  $("join").disabled = yes;
  for (const input of document.querySelectorAll(".setup input")) input.disabled = yes;
}

function inCall(yes) {
  $("join").hidden = yes;
  $("mute").hidden = $("leave").hidden = !yes;
  $("mute").textContent = "Mute";
  for (const element of $("chat").elements) element.disabled = !yes;
}

function clear() {
  problem("");
  bubbles.clear();
  for (const id of ["words", "events", "attributes", "timers", "verdicts", "values"]) $(id).replaceChildren();
  $("after").hidden = true;
}

$("join").addEventListener("click", join);
$("leave").addEventListener("click", () => room.disconnect());
$("mute").addEventListener("click", async () => {
  const muted = room.localParticipant.isMicrophoneEnabled;
  await room.localParticipant.setMicrophoneEnabled(!muted);
  $("mute").textContent = muted ? "Unmute" : "Mute";
});
$("chat").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  const item = document.createElement("li");
  item.className = "user";
  item.textContent = text;
  $("words").append(item);
  item.scrollIntoView({ block: "nearest" });
  await room.localParticipant.sendText(text, { topic: "lk.chat" });
});

await showBundles();
