// What the page says, as pure functions of what the edge reports.

export const minute = 60_000;

// age says how long ago a time is: "5 s", "4 min", "3 h", "12 days".
export function age(then, now) {
	const s = Math.max(0, Math.round((now - new Date(then)) / 1000));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min`;
	if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
	return `${Math.floor(s / 86400)} days`;
}

// duration formats seconds.
export function duration(s) {
	if (!s) return "–";
	if (s < 0.9995) return `${s < 0.01 ? (s * 1000).toFixed(1) : Math.round(s * 1000)} ms`;
	return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
}

export function rate(n) {
	if (!n) return "0";
	if (n < 0.1) return "<0.1";
	return n < 10 ? n.toFixed(1) : String(Math.round(n));
}

const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;

// lostTotal is how many requests got no complete answer of the service, by whatever outcome.
export const lostTotal = (s) => Object.values(s.lost).reduce((sum, n) => sum + n, 0);

// usual returns the median p95 of a history in seconds, without the last minute; 0 if it is too short.
export function usual(history) {
	const past = (history?.p ?? []).slice(0, -12).filter((p) => p > 0).sort((a, b) => a - b);
	return past.length < 12 ? 0 : past[past.length >> 1] / 1000;
}

// judge says in words how a service is. rank orders services, the worst first; level is good, warn or bad.
// lostLately is how many requests got no complete answer in the last minute, deployedAt when its last new container became ready.
export function judge(s, now, { history, lostLately = 0, deployedAt } = {}) {
	const failing = s.endpoints.filter((e) => e.state === "failing");
	const since = deployedAt && now - new Date(deployedAt) < 10 * minute ? `, since a deploy ${age(deployedAt, now)} ago` : "";
	const is = (rank, level, text) => ({ rank, level, text });
	if (s.maintenance) return is(3, "warn", `in maintenance${s.maintenance_since ? ` for ${age(s.maintenance_since, now)}` : ""}: requests ${s.maintenance === "hold" ? "wait" : "are refused"}`);
	if (s.ready === 0) {
		if (lostLately > 0) return is(9, "bad", `down for ${age(s.since, now)}, ${plural(lostLately, "request")} refused in the last minute: ${s.why || s.endpoints[0]?.reason || "no container is known"}`);
		const why = s.why || s.endpoints[0]?.reason || "no container is known";
		const starting = s.endpoints.length > 0 && s.endpoints.every((e) => e.state === "starting") && now - new Date(s.since) < 2 * minute;
		return is(starting ? 7 : 9, starting ? "warn" : "bad", `${starting ? "starting" : "down"} for ${age(s.since, now)}: ${why}`);
	}
	const share = s.requests_per_second ? (s.errors_per_second - (s.own_errors_per_second ?? 0)) / s.requests_per_second : 0; // what the edge answers itself is not the application's
	if (lostLately > 0) return is(8, "bad", `${plural(lostLately, "request")} got no complete answer in the last minute${since}`);
	if (share >= 0.01) return is(8, "bad", `the application answers ${Math.round(share * 100)} % with errors${since}`);
	if (s.held > 0) return is(7, "warn", `${plural(s.held, "request")} ${s.held === 1 ? "waits" : "wait"} for a container`);
	const before = s.baseline_p95 || usual(history);
	if (before && s.p95 > 0.3 && s.p95 > 3 * before) return is(6, "warn", `the application is slow: p95 ${duration(s.p95)}, usually ${duration(before)}${since}`);
	if (failing.length > 0) return is(5, "warn", `${s.ready} of ${s.endpoints.length} ready; ${failing[0].reason}`);
	if (s.problem) return is(4, "warn", s.problem);
	const states = ["starting", "draining"].map((state) => [s.endpoints.filter((e) => e.state === state).length, state]).filter(([n]) => n > 0);
	return is(states.length ? 1 : 0, "good", [`${s.ready} ready`, ...states.map(([n, state]) => `${n} ${state}`)].join(", "));
}

// certificate says how a certificate is.
export function certificate(c, now) {
	const until = c.not_after ? `until ${new Date(c.not_after).toLocaleDateString()}` : "none yet";
	switch (c.state) {
	case "ok": return { rank: 0, level: "good", text: until };
	case "trying": return { rank: 2, level: "warn", text: "being obtained" };
	case "expired": return { rank: 9, level: "bad", text: `expired ${age(c.not_after, now)} ago` };
	case "failing": return { rank: c.not_after ? 5 : 8, level: "bad", text: `${until}; ${c.last_error?.reason ?? "the last attempt failed"}` };
	default: return { rank: 4, level: "warn", text: `${c.state}; ${until}` };
	}
}

// exhaustion says what the edge has run out of.
export function exhaustion(e, now) {
	return { level: "bad", isEdge: true, text: `the edge has run out of ${e.resource}, ${age(e.last, now)} ago: ${e.hint}` };
}

// limit says how a zone of rate limits is.
export function limit(z) {
	if (z.lately > 0) return { level: "warn", text: `${plural(z.lately, "request")} refused in the last minute, ${z.limited} in all` };
	return { level: "good", text: `${z.limited} of ${z.passed + z.limited} refused so far` };
}

// summarize says in one sentence how everything is.
export function summarize(judged, others) {
	const bad = judged.filter((j) => j.level === "bad").length, warn = judged.filter((j) => j.level === "warn").length;
	const more = others.filter((o) => o.level === "bad").length;
	if (others.some((o) => o.isEdge)) return { level: "bad", text: "The edge itself has a problem." };
	if (judged.length === 0) return { level: "warn", text: "No route leads to a service yet." };
	if (bad > 0) return { level: "bad", text: `${bad} of ${plural(judged.length, "service")} ${bad === 1 ? "has a problem" : "have problems"}.` };
	if (more > 0) return { level: "bad", text: `The services work; ${plural(more, "other thing")} ${more === 1 ? "needs" : "need"} attention.` };
	if (warn > 0) return { level: "warn", text: `${warn} of ${plural(judged.length, "service")} ${warn === 1 ? "needs" : "need"} a look.` };
	return { level: "good", text: judged.length === 1 ? "The service is fine." : `All ${judged.length} services are fine.` };
}
