import { State } from "./state.js";
import { age, certificate, duration, exhaustion, judge, limit, lostTotal, rate, summarize } from "./words.js";
import { drawChart } from "./chart.js";

const $ = (selector) => document.querySelector(selector);
const state = new State();
const rows = new Map(); // service → its row, and that of its details
const open = new Set(); // services whose details are shown
let changed = new Set(), isDue = false, lastSort = 0, notice = "";

// make returns an element with text and attributes.
function make(name, attributes = {}, ...children) {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
		else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
	}
	element.append(...children);
	return element;
}

const symbols = { good: "●", warn: "▲", bad: "■" };
const stateText = (j) => make("span", { class: `state ${j.level}` }, make("span", { "aria-hidden": "true" }, symbols[j.level] + " "), j.text);

function connect() {
	const source = new EventSource("events");
	source.onmessage = (e) => {
		const m = JSON.parse(e.data);
		if (m.hello) changed = new Set(rows.keys());
		for (const name of state.apply(m)) changed.add(name);
		$("#connection").textContent = notice;
		schedule();
	};
	source.onerror = () => {
		$("#connection").textContent = "The connection is lost; what is shown may be outdated.";
		if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
	};
}

// schedule renders what has changed with the next frame; in a hidden tab a little later.
function schedule() {
	if (isDue) return;
	isDue = true;
	const run = () => { isDue = false; render(); };
	document.hidden ? setTimeout(run, 500) : requestAnimationFrame(run);
}

function judged(s) {
	return judge(s, state.now(), { history: s.history, lostLately: state.lostLately(s), deployedAt: s.deployedAt });
}

function render() {
	for (const name of changed) renderService(name);
	changed = new Set();
	const all = [...rows.values()].map((row) => row.judged);
	sortRows(all);
	renderOverview(all);
	renderEvents();
}

function renderService(name) {
	const s = state.services.get(name);
	let row = rows.get(name);
	if (!s) {
		row?.row.remove();
		row?.details.remove();
		rows.delete(name);
		return;
	}
	if (!row) {
		row = newRow(name);
		rows.set(name, row);
		$("#services tbody").append(row.row, row.details);
	}
	const j = judged(s);
	row.text = `${name} ${j.text}`.toLowerCase();
	row.judged = { ...j, service: name };
	row.cells.state.replaceChildren(stateText(j));
	const share = s.requests_per_second ? s.errors_per_second / s.requests_per_second : 0;
	const lost = lostTotal(s);
	const numbers = {
		requests: rate(s.requests_per_second), errors: share ? `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %` : "0", p50: duration(s.p50), p95: duration(s.p95), p99: duration(s.p99),
		held: s.held, lost, sockets: s.sockets,
	};
	for (const [key, value] of Object.entries(numbers)) row.cells[key].textContent = value;
	row.cells.errors.classList.toggle("bad", share >= 0.01);
	row.cells.lost.classList.toggle("bad", state.lostLately(s) > 0);
	if (s.history) {
		const marks = state.events.filter((e) => (e.service === name && ["deploy", "drain", "maintenance"].includes(e.kind)) || e.kind === "reload").map((e) => new Date(e.time));
		drawChart(row.cells.chart, s.history, marks, state.now(), state.hello.length * state.hello.interval);
	}
	if (open.has(name)) renderDetails(row, s);
	filterRow(row);
}

function newRow(name) {
	const cells = { state: make("td"), chart: make("td") };
	const labels = { requests: "requests/s", errors: "errors", p50: "p50", p95: "p95", p99: "p99", held: "held", lost: "lost", sockets: "sockets" };
	const numbers = Object.entries(labels).map(([key, label]) => cells[key] = make("td", { class: "number", "data-label": label }));
	const details = make("tr", { class: "details", hidden: !open.has(name) }, make("td", { colspan: "11" })); // a service may have been gone for a moment
	const toggle = make("button", { class: "toggle", "aria-expanded": String(open.has(name)), onclick: () => {
		const isOpen = !open.delete(name);
		if (isOpen) open.add(name);
		toggle.setAttribute("aria-expanded", isOpen);
		details.hidden = !isOpen;
		if (isOpen) renderDetails(rows.get(name), state.services.get(name));
	} }, name);
	return { row: make("tr", {}, make("th", { scope: "row" }, toggle), cells.state, ...numbers, cells.chart), details, cells };
}

// renderDetails lists the containers of a service, with the actions that the user may take.
function renderDetails(row, s) {
	const now = state.now(), canAct = state.hello.actions;
	const list = make("ul", { "aria-label": `Containers of ${s.service}` });
	for (const e of s.endpoints) {
		const level = { ready: "good", failing: "bad" }[e.state] ?? "warn", name = e.name || e.id;
		const isDrained = e.reason === "drained by an operator";
		list.append(make("li", {}, stateText({ level, text: `${e.state} for ${age(e.since, now)}` }), ` ${name}${e.address && e.address !== name ? ` ${e.address.startsWith("(") ? e.address : `(${e.address})`}` : ""}: ${e.reason}. `
			+ `${e.requests} requests, ${e.errors} errors, ${e.in_flight} in flight, ${e.sockets} sockets${e.first_byte_seconds ? `, first byte after ${duration(e.first_byte_seconds)}` : ""}. `,
		canAct ? make("button", { onclick: () => act(`${isDrained ? "Send new requests to" : "Send no new requests to"} ${name}?`, { drain: { endpoint: e.id, undo: isDrained } }) },
			isDrained ? "Undo the drain" : "Drain") : ""));
	}
	if (s.endpoints.length === 0) list.append(make("li", {}, s.why || "no container"));
	const actions = canAct ? make("p", {}, make("button", { class: "danger", onclick: () => act(
		s.maintenance ? `Open ${s.service} to visitors?` : `Close ${s.service} to visitors?`, { maintenance: { service: s.service, on: !s.maintenance } }) },
	s.maintenance ? "End the maintenance" : "Begin maintenance")) : "";
	const cell = row.details.firstChild, focused = [...cell.querySelectorAll("button")].indexOf(document.activeElement);
	cell.replaceChildren(list, actions);
	if (focused >= 0) cell.querySelectorAll("button")[focused]?.focus(); // it was replaced
}

async function act(question, body) {
	const dialog = $("#confirm");
	$("#confirm-text").textContent = question;
	dialog.returnValue = "";
	dialog.showModal();
	await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
	if (dialog.returnValue !== "yes") return;
	const answer = await fetch("actions", { method: "POST", headers: { "Content-Type": "application/json", "X-Edge-Action": "1" }, body: JSON.stringify(body) }).catch((err) => ({ ok: false, status: err.message }));
	const text = answer.ok ? "" : `That did not work: ${answer.status}`;
	$("#connection").textContent = notice = text;
	if (text) setTimeout(() => { if (notice === text) notice = ""; }, 20_000); // messages of the stream come each second
}

// sortRows puts the worst services first. It moves rows at most every two seconds, so that one can click on them.
function sortRows(all) {
	if (Date.now() - lastSort < 2000 && lastSort) return;
	lastSort = Date.now();
	all.sort((a, b) => b.rank - a.rank || (a.service < b.service ? -1 : 1));
	const body = $("#services tbody"), focused = document.activeElement;
	let next = body.firstChild;
	for (const { service } of all) {
		const row = rows.get(service);
		if (!row) continue;
		if (row.row !== next) body.insertBefore(row.row, next);
		if (row.row.nextSibling !== row.details) row.row.after(row.details);
		next = row.details.nextSibling;
	}
	if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true }); // its row has moved
}

function filterRow(row) {
	const isShown = row.text.includes($("#service-filter").value.trim().toLowerCase());
	row.row.hidden = !isShown;
	row.details.hidden = !isShown || row.cells.state.parentElement.querySelector("button").getAttribute("aria-expanded") !== "true";
	return isShown;
}

const listItems = (items, none) => items.length ? items : [make("li", { class: "note" }, none)];

function renderOverview(all) {
	const o = state.overview, now = state.now();
	if (!o) return;
	const certificates = (o.certificates ?? []).map((c) => ({ name: c.name, ...certificate(c, now) })).sort((a, b) => b.rank - a.rank);
	const used = new Set([...state.services.values()].map((s) => s.source)); // by a service, to know its containers
	const sources = Object.entries(o.sources).map(([name, isConnected]) => ({
		name, level: isConnected ? "good" : used.has(name) || name === "engine" ? "bad" : "warn", text: isConnected ? "connected" : "not connected", isUsed: isConnected || used.has(name) || name === "engine",
	}));
	const backups = (o.backup_problems ?? []).map((p) => ({ level: "bad", text: `backup of ${p.Project}${p.App ? "/" + p.App : ""}: ${p.Message}` }));
	const replica = Object.entries(o.replication_problems ?? {}).map(([name, text]) => ({ level: "bad", text: `replica${name ? " of " + name : ""}: ${text}` }));
	const exhausted = (o.exhausted ?? []).map((e) => exhaustion(e, now));
	const others = [...exhausted, ...certificates.filter((c) => c.level !== "good").map((c) => ({ level: c.level, text: `certificate of ${c.name}: ${c.text}` })),
		...sources.filter((s) => s.level !== "good" && s.isUsed).map((s) => ({ level: s.level, text: `source ${s.name}: ${s.text}` })), ...backups, ...replica];
	const summary = summarize(all, others);
	const element = $("#summary");
	if (element.textContent !== summary.text) element.textContent = summary.text;
	element.className = summary.level;
	document.title = `${summary.level === "good" ? "" : symbols[summary.level] + " "}Edge status`;
	const problems = [...exhausted, ...all.filter((j) => j.level !== "good").sort((a, b) => b.rank - a.rank).map((j) => ({ level: j.level, text: `${j.service}: ${j.text}` })), ...others.slice(exhausted.length)];
	$("#problems").hidden = problems.length === 0;
	$("#problems ul").replaceChildren(...problems.slice(0, 20).map((p) => make("li", {}, stateText(p))));
	$("#certificates").replaceChildren(...listItems(certificates.map((c) => make("li", {}, `${c.name}: `, stateText(c))), "No site has a certificate."));
	const known = (o.backups ?? []).map((b) => make("li", {}, `${b.project}/${b.application}: can be restored as of ${b.recovery_point ? age(b.recovery_point, now) + " ago" : "never"}`
		+ (b.last_drill ? `; a drill passed ${age(b.last_drill, now)} ago, in ${Math.round(b.drill_seconds)} s` : "; no drill yet")));
	$("#backups").replaceChildren(...listItems(known, "No backup has reported yet."));
	$("#limits").replaceChildren(...listItems([...state.limits.values()].map((z) => make("li", {}, `${z.name}: `, stateText(limit(z)))), "No route has a rate limit."));
	$("#edge").replaceChildren(make("li", {}, `Version ${state.hello.version}, started ${age(o.started, now)} ago, configuration ${o.generation}`),
		...sources.map((s) => make("li", {}, `Source ${s.name}: `, stateText(s))));
	const shown = [...rows.values()].filter((r) => !r.row.hidden).length;
	$("#service-count").textContent = shown === rows.size ? "" : `${shown} of ${rows.size}`;
}

let renderedEvents = "";

function renderEvents() {
	const text = $("#event-filter").value.trim().toLowerCase(), kind = $("#event-kind").value;
	const shown = state.events.filter((e) => (!kind || e.kind === kind) && `${e.service ?? ""} ${e.endpoint ?? ""} ${e.text} ${e.kind}`.toLowerCase().includes(text));
	const key = `${shown[0]?.number} ${shown.length} ${text} ${kind}`;
	if (key === renderedEvents) return;
	renderedEvents = key;
	$("#events").replaceChildren(...listItems(shown.map((e) => make("li", { class: e.level }, make("time", { datetime: e.time }, new Date(e.time).toLocaleTimeString()),
		`${e.kind}: ${[e.service, e.endpoint, e.text].filter(Boolean).join(" ")}`)), "No event."));
}

$("#service-filter").addEventListener("input", () => { rows.forEach(filterRow); schedule(); });
$("#event-filter").addEventListener("input", schedule);
$("#event-kind").addEventListener("change", schedule);
setInterval(() => { for (const name of rows.keys()) changed.add(name); schedule(); }, 10_000); // ages go on
connect();
