// Package logview shows the logs of a Compose project as one: merged by time, filtered, and joined by the ID of a request.
package logview

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Line is one line of a container's log.
type Line struct {
	Time      time.Time
	Container string // as `docker compose logs` names it, such as crm-1
	Text      string
	Entry     *Entry // what the text says if it is an entry of the edge's log; else nil
	source    Source
}

// Entry is an entry of the edge's log, in Caddy's format or in that of ECS.
type Entry struct {
	Level, Logger, Message string
	// The rest is of a request. Status is 0 in other entries.
	Status                   int
	Method, Host, URI        string
	Duration, Held           time.Duration
	Service, Endpoint        string
	Attempts                 int
	RequestID, UUID, TraceID string
	Error                    string
	isAccess                 bool
	others                   map[string]any // fields that are not above
}

// ParseLine parses a line that `docker compose logs --timestamps` prints. ok is false for a line of Compose itself.
func ParseLine(text string) (l Line, ok bool) {
	container, rest, found := strings.Cut(text, "|")
	if !found {
		return Line{}, false
	}
	stamp, message, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return Line{}, false
	}
	l = Line{Time: at, Container: strings.TrimSpace(container), Text: strings.TrimRight(message, "\r\n")}
	l.Entry = parseEntry(l.Text)
	return l, true
}

// serviceOf returns the Compose service of a container's name.
func (l Line) service() string {
	if i := strings.LastIndexByte(l.Container, '-'); i > 0 {
		return l.Container[:i]
	}
	return l.Container
}

var (
	// errorWords are in lines about errors of programs that do not write as the edge does: also TypeError and NullPointerException.
	errorWords = regexp.MustCompile(`(?i:\b(?:error|fatal|panic|exception|traceback|critical|emerg|segfault)\b)|[a-z](?:Error|Exception)\b`)
	// noErrors are fields of JSON that say that there is none.
	noErrors = regexp.MustCompile(`(?i)"\w*(error|err|exception)"\s*:\s*(null|false|""|0|\[\]|\{\})`)
)

// IsError reports whether the line is about an error: a request with a status from 500 on, or without a complete response, an entry of that level, or a line that says so.
func (l Line) IsError() bool {
	if l.Entry == nil {
		return errorWords.MatchString(noErrors.ReplaceAllString(l.Text, ""))
	}
	if _, isLost := l.Entry.others["outcome"]; isLost && strings.HasPrefix(l.Entry.Logger, "http.reverse_proxy.transport.edge") {
		return true
	}
	return l.Entry.Status >= 500 || l.Entry.Level == "error" || l.Entry.Level == "fatal" || l.Entry.Level == "panic"
}

// parseEntry parses an entry of the edge's log; nil if the text is none.
func parseEntry(text string) *Entry {
	if !strings.HasPrefix(text, "{") {
		return nil
	}
	var fields map[string]any
	if json.Unmarshal([]byte(text), &fields) != nil {
		return nil
	}
	if _, isECS := fields["ecs.version"]; isECS {
		return parseECS(fields)
	}
	if fields["level"] == nil || fields["msg"] == nil || fields["ts"] == nil {
		return nil
	}
	f := fieldReader(fields)
	e := &Entry{
		Level: f.text("level"), Logger: f.text("logger"), Message: f.text("msg"), Status: int(f.number("status")),
		Duration: seconds(f.number("duration")), Held: seconds(f.number("held_ms") / 1000), Service: f.text("service"), Endpoint: f.text("endpoint"),
		Attempts: int(f.number("attempts")), RequestID: f.text("request_id"), UUID: f.text("uuid"), TraceID: f.text("traceID"), Error: f.text("error"),
	}
	if request, ok := fields["request"].(map[string]any); ok {
		r := fieldReader(request)
		e.Method, e.Host, e.URI = r.text("method"), r.text("host"), r.text("uri")
		_, isHandled := fields["size"]
		e.isAccess = isHandled && e.Status > 0
	}
	delete(fields, "ts")
	delete(fields, "request")
	delete(fields, "spanID")
	e.others = fields
	return e
}

// parseECS parses an entry that the encoder ecs has written.
func parseECS(fields map[string]any) *Entry {
	f := fieldReader(fields)
	e := &Entry{
		Level: f.text("log.level"), Logger: f.text("log.logger"), Message: f.text("message"), Status: int(f.number("http.response.status_code")),
		Duration: time.Duration(f.number("event.duration")), Held: seconds(f.number("edge.held_ms") / 1000), Service: f.text("service.target.name"),
		Endpoint: f.text("destination.address"), Attempts: int(f.number("edge.attempts")), RequestID: f.text("http.request.id"), UUID: f.text("caddy.uuid"),
		TraceID: f.text("trace.id"), Error: f.text("error.message"), Method: f.text("http.request.method"), Host: f.text("url.domain"), URI: f.text("url.original"),
		isAccess: fields["event.dataset"] == "edge.access", others: make(map[string]any),
	}
	for name, value := range fields {
		rest, isOwn := strings.CutPrefix(name, "caddy.")
		switch {
		case isOwn:
			e.others[rest] = value
		case name == "event.duration":
			e.others["duration"] = e.Duration.Seconds()
		case name == "destination.address" && fields["caddy.endpoint"] != nil:
			e.others["address"] = value
		case !slices.ContainsFunc(notOther, func(start string) bool { return strings.HasPrefix(name, start) }):
			e.others[cmp.Or(caddyNames[name], strings.TrimPrefix(name, "edge."))] = value
		}
	}
	return e
}

var (
	// notOther are the beginnings of fields that each entry has, or that are printed before the others.
	notOther = []string{
		"@timestamp", "ecs.", "log.", "message", "event.category", "event.type", "event.dataset", "event.outcome", "event.kind", "span.id", "service.name", "service.type", "service.version", "event.duration",
		"destination.ip", "destination.port", "url.", "source.", "client.", "tls.", "user_agent.", "http.version", "http.request.body", "http.request.referrer", "http.response.body",
	}
	// caddyNames are the names that fields of ECS have in the edge's own format.
	caddyNames = map[string]string{
		"error.message": "error", "service.target.name": "service", "destination.address": "endpoint", "http.request.id": "request_id", "trace.id": "traceID",
		"http.request.method": "method", "http.response.status_code": "status",
	}
)

// fieldReader reads the fields of a JSON object. A field that is missing, or of another type, is the zero value.
type fieldReader map[string]any

func (f fieldReader) text(name string) string {
	value, _ := f[name].(string)
	return value
}

func (f fieldReader) number(name string) float64 {
	value, _ := f[name].(float64)
	return value
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
