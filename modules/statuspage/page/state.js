// The state of the page: what the stream has reported so far.

import { lostTotal } from "./words.js";

export class State {
	hello = null;
	overview = null;
	limits = new Map(); // zone of rate limits → its counts, with those of the last minute
	services = new Map(); // name → what the edge reports, with history, lostLately and deployedAt
	events = []; // the newest first
	offset = 0; // of the edge's clock to that of this machine, in milliseconds

	now() { return Date.now() + this.offset; }

	// apply adds a message, and returns the names of the services that it changes.
	apply(m) {
		const changed = new Set();
		if (m.hello) {
			this.hello = m.hello;
			this.services.clear();
			this.events = [];
		}
		if (m.overview) {
			this.overview = m.overview;
			this.offset = new Date(m.overview.time) - Date.now();
			const zones = (m.limits ?? []).map((z) => {
				const counts = [...(this.limits.get(z.name)?.counts ?? []).filter(([at]) => this.now() - at < 60_000), [this.now(), z.limited]];
				return [z.name, { ...z, counts, lately: Math.max(0, z.limited - counts[0][1]) }];
			});
			this.limits = new Map(zones);
		}
		for (const s of m.services ?? []) {
			this.update(s);
			changed.add(s.service);
		}
		for (const name of m.gone ?? []) {
			this.services.delete(name);
			changed.add(name);
		}
		for (const e of m.events ?? []) {
			this.events.unshift(e);
			const s = this.services.get(e.service);
			if (s && e.is_new) s.deployedAt = e.time;
			if (s) changed.add(e.service);
		}
		this.events.length = Math.min(this.events.length, 200);
		for (const [name, line] of Object.entries(m.history ?? {})) changed.add(name);
		if (m.history) this.extend(m.history, m.points);
		return changed;
	}

	update(s) {
		const before = this.services.get(s.service);
		s.history = before?.history ?? null;
		s.deployedAt = before?.deployedAt;
		const lost = lostTotal(s);
		s.losses = before?.losses ?? [[this.now(), lost]];
		while (s.losses.length > 1 && this.now() - s.losses[1][0] > 60_000) s.losses.shift(); // the first is what was lost before
		if (s.losses.length > 1 && this.now() - s.losses.at(-2)[0] < 500) s.losses.pop(); // messages may come each 50 ms
		s.losses.push([this.now(), lost]);
		this.services.set(s.service, s);
	}

	// lostLately is how many requests of a service got no complete answer in the last minute. What was lost before the page was opened is in the edge's own figure.
	lostLately(s) {
		const before = s.losses.findLast(([at]) => this.now() - at >= 60_000) ?? s.losses[0];
		return Math.max(0, s.losses.at(-1)[1] - before[1], Math.round((s.lost_per_second ?? 0) * 60));
	}

	// extend adds points to the history of all services; those that are not named had no requests.
	extend(history, points) {
		const length = this.hello.length;
		const added = points ?? (Math.max(0, ...Object.values(history).map((line) => line.r.length)) || 1);
		for (const [name, s] of this.services) {
			const line = history[name];
			if (!line && !s.history) continue;
			const old = s.history ?? { r: [], e: [], p: [] };
			const next = (key) => [...Array(length).fill(0), ...old[key], ...(line ? line[key] : Array(Math.min(added, length)).fill(0))].slice(-length);
			s.history = { r: next("r"), e: next("e"), p: next("p") };
		}
	}
}
