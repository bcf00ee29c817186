// Small charts of the last 15 minutes, as SVG.

const space = "http://www.w3.org/2000/svg";
const width = 180, height = 36;

function shape(name, attributes) {
	const element = document.createElementNS(space, name);
	for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
	return element;
}

// bars is a path of bars from the bottom.
function bars(values, top) {
	const step = width / values.length;
	return values.map((v, i) => v && `M${(i * step).toFixed(1)} ${height}V${(height - Math.max(1, v / top * height)).toFixed(1)}h${step.toFixed(1)}V${height}z`).filter(Boolean).join("");
}

// drawChart draws the requests, errors and p95 of a service, with marks at the times of events, into an element.
export function drawChart(element, history, marks, end, seconds) {
	const svg = shape("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
	const total = (key) => history[key].reduce((a, b) => a + b, 0);
	const slowest = Math.max(...history.p);
	svg.setAttribute("aria-label", `${total("r")} requests and ${total("e")} errors in 15 minutes, p95 at most ${Math.round(slowest)} ms`);
	const top = Math.max(1, ...history.r);
	svg.append(shape("path", { class: "requests", d: bars(history.r, top) }), shape("path", { class: "errors", d: bars(history.e, top) }));
	const step = width / history.p.length;
	let line = "", isDrawn = false;
	history.p.forEach((p, i) => {
		line += p > 0 ? `${isDrawn ? "L" : "M"}${(i * step + step / 2).toFixed(1)} ${(height - 1 - p / slowest * (height - 3)).toFixed(1)}` : "";
		isDrawn = p > 0;
	});
	svg.append(shape("path", { class: "p95", d: line }));
	for (const at of marks) {
		const x = width - (end - at) / 1000 / seconds * width;
		if (x >= 0 && x <= width) svg.append(shape("path", { class: "mark", d: `M${x.toFixed(1)} 0V${height}` }));
	}
	element.replaceChildren(svg);
}
