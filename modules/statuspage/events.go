package statuspage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/timeline"
	"github.com/theworklabs/edge/internal/traffic"
	"github.com/theworklabs/edge/internal/version"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/ratelimit"
)

const (
	// maxStreams is how many pages may be open. Each of them takes some milliseconds of the processor in a second, with a thousand services.
	maxStreams = 50
	// minInterval is the shortest time between two messages, and maxInterval the longest: figures change without an event.
	minInterval = 50 * time.Millisecond
	maxInterval = time.Second
	// overviewInterval is the time between two looks at certificates and backups.
	overviewInterval = 5 * time.Second
	// writeTimeout is how long a client may take to read a message.
	writeTimeout = 20 * time.Second
)

// streams is how many pages are open.
var streams atomic.Int32

// message is one message of the stream. Parts that have not changed are left out.
type message struct {
	Hello    *hello                 `json:"hello,omitempty"` // in the first message
	Overview *edge.Overview         `json:"overview,omitempty"`
	Limits   []ratelimit.ZoneStatus `json:"limits,omitempty"`   // with an overview
	Services []json.RawMessage      `json:"services,omitempty"` // that have changed
	Gone     []string               `json:"gone,omitempty"`     // services that are no longer there
	Events   []timeline.Event       `json:"events,omitempty"`
	Points   int                    `json:"points,omitempty"` // by how many the history has grown since the message before
	History  map[string]serviceLine `json:"history,omitzero"` // in the first message all points, later the last one; empty if no service had a request
}

// hello tells the page what it is.
type hello struct {
	Version  string  `json:"version"`
	Interval float64 `json:"interval"` // of the points of the history, in seconds
	Length   int     `json:"length"`   // how many there are
	User     string  `json:"user,omitempty"`
	Actions  bool    `json:"actions"`
}

// serviceLine has points of a service's history, as short as JSON can have them.
type serviceLine struct {
	Start    int64     `json:"start"` // of the first one, in Unix seconds
	Requests []uint32  `json:"r"`
	Errors   []uint32  `json:"e"`
	P95      []float64 `json:"p"` // milliseconds
}

// stream is the open page of one client.
type stream struct {
	*Handler
	seesAddresses bool
	user          string

	sent      map[string]uint64 // service → hash of what was last sent
	complete  time.Time         // when the last message was sent for which all services were looked at
	lastEvent uint64
	overview  time.Time // when it was last sent
	lastPoint time.Time // of the history
	isOpen    bool      // the first message was sent
}

// serveEvents sends what changes, until the client leaves.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) error {
	if streams.Add(1) > maxStreams {
		streams.Add(-1)
		w.Header().Set("Retry-After", "10")
		return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("too many status pages are open"))
	}
	defer streams.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for a proxy in front
	if r.Method == http.MethodHead {
		return nil
	}
	s := &stream{Handler: h, seesAddresses: h.seesAddresses(r), user: userOf(r), sent: make(map[string]uint64)}
	changed, stop := h.app.Timeline().Watch()
	defer stop()
	control := http.NewResponseController(w)
	tick := time.NewTicker(maxInterval)
	defer tick.Stop()
	// A reload, which is an event, ends the stream, so that it need not wait for it. The page connects again.
	for h.app.IsActive() {
		text, err := s.next(r.Context())
		if err != nil {
			return err
		}
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // HTTP/3 has none; the stream ends with the connection
		if _, err := w.Write(text); err != nil {
			return nil // the client has left
		}
		if err := control.Flush(); err != nil {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-time.After(minInterval):
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
	return nil
}

// next returns the next message of the stream: a comment if nothing has changed, which shows a client that has left.
func (s *stream) next(ctx context.Context) ([]byte, error) {
	var m message
	now := time.Now()
	if !s.isOpen {
		v := version.Program()
		m.Hello = &hello{v.Edge + ", Caddy " + v.Caddy, traffic.HistoryInterval.Seconds(), traffic.HistoryLength - 1, s.user, s.Actions && s.user != ""}
	}
	if now.Sub(s.overview) >= overviewInterval {
		o := s.app.Overview()
		m.Overview, m.Limits, s.overview = &o, ratelimit.Zones(), now
	}
	if m.Events = s.app.Timeline().Since(s.lastEvent); len(m.Events) > 0 {
		s.lastEvent = m.Events[len(m.Events)-1].Number
	}
	// An event is about few services: to look at all of them for each one would take longer than the rest, with a thousand of them.
	if named, isKnown := s.servicesOf(m.Events); isKnown && now.Sub(s.complete) < maxInterval-minInterval {
		if err := s.addServices(&m, s.app.OverviewsOf(named)); err != nil {
			return nil, err
		}
	} else if err := s.addAll(&m, now); err != nil {
		return nil, err
	}
	s.isOpen = true
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if string(text) == "{}" {
		return []byte(":\n\n"), nil
	}
	if !s.seesAddresses {
		text = hideAddresses(text)
	}
	var b bytes.Buffer
	if m.Hello != nil {
		b.WriteString("retry: 500\n") // milliseconds until the page connects again
	}
	b.WriteString("data: ")
	b.Write(text)
	b.WriteString("\n\n")
	return b.Bytes(), nil
}

var seed = maphash.MakeSeed()

// servicesOf returns the services that events are about. isKnown is false if one may be about others.
func (s *stream) servicesOf(events []timeline.Event) (services []string, isKnown bool) {
	for _, e := range events {
		if _, wasSent := s.sent[e.Service]; !wasSent {
			return nil, false
		}
		if !slices.Contains(services, e.Service) {
			services = append(services, e.Service)
		}
	}
	return services, len(services) > 0
}

// addAll adds what has changed of all services, and their history.
func (s *stream) addAll(m *message, now time.Time) error {
	s.complete = now
	services := s.app.ServiceOverviews()
	if err := s.addServices(m, services); err != nil {
		return err
	}
	present := make(map[string]bool, len(services))
	for _, service := range services {
		present[service.Service] = true
	}
	for name := range s.sent {
		if !present[name] {
			delete(s.sent, name)
			m.Gone = append(m.Gone, name)
		}
	}
	s.addHistory(m, services, now)
	return nil
}

// addServices adds those of the services that have changed since they were last sent.
func (s *stream) addServices(m *message, services []edge.ServiceOverview) error {
	for _, service := range services {
		text, err := json.Marshal(service)
		if err != nil {
			return err
		}
		if hash := maphash.Bytes(seed, text); s.sent[service.Service] != hash {
			s.sent[service.Service] = hash
			m.Services = append(m.Services, text)
		}
	}
	return nil
}

// addHistory adds the points since the message before. A service without requests has none.
func (s *stream) addHistory(m *message, services []edge.ServiceOverview, now time.Time) {
	last := now.Truncate(traffic.HistoryInterval).Add(-traffic.HistoryInterval)
	if !last.After(s.lastPoint) {
		return
	}
	m.History = make(map[string]serviceLine)
	if s.isOpen {
		m.Points = int(last.Sub(s.lastPoint) / traffic.HistoryInterval)
	}
	for _, service := range services {
		var line serviceLine
		isUsed := false
		for _, p := range s.app.TrafficHistory(service.Service) {
			if !p.Start.After(s.lastPoint) {
				continue
			}
			if line.Requests == nil {
				line.Start = p.Start.Unix()
			}
			isUsed = isUsed || p.Requests > 0
			line.Requests, line.Errors = append(line.Requests, p.Requests), append(line.Errors, p.Errors)
			line.P95 = append(line.P95, float64(int(p.P95*1e4))/10)
		}
		if isUsed {
			m.History[service.Service] = line
		}
	}
	s.lastPoint = last
}

// Addresses with or without a port, as they are in the texts of a message.
var (
	bracketedAddress = regexp.MustCompile(`\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:%\w+)?\](?::\d+)?`)
	ipv4Address      = regexp.MustCompile(`\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?`)
	bareIPv6Address  = regexp.MustCompile(`[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,}(?:%\w+)?`)
)

// hideAddresses returns a message, in JSON, without addresses. Each has a name of its own, so that an action can name an endpoint by it.
func hideAddresses(text []byte) []byte {
	any := func(string) bool { return true }
	text = replaceAddresses(text, bracketedAddress, any)
	text = replaceAddresses(text, ipv4Address, any)
	return replaceAddresses(text, bareIPv6Address, func(found string) bool { // not a time of day
		_, err := netip.ParseAddr(found)
		return err == nil
	})
}

// replaceAddresses replaces what an expression finds, and what is an address, and no part of a word.
func replaceAddresses(text []byte, expression *regexp.Regexp, isAddress func(string) bool) []byte {
	var replaced []byte
	end := 0
	for _, found := range expression.FindAllIndex(text, -1) {
		begin := skipEscape(text, found[0])
		address := string(text[begin:max(begin, found[1])])
		if trimmed, isBefore := strings.CutSuffix(address, ":"); isBefore && !strings.HasSuffix(trimmed, ":") { // as in "fd00::1: refused"
			address = trimmed
		}
		after := begin + len(address)
		isPart := begin > 0 && isWord(text[begin-1]) && skipEscape(text, begin-1) == begin-1 && !isEscaped(text, begin-1) || after < len(text) && isWord(text[after])
		if address == "" || isPart || !isAddress(address) {
			continue
		}
		replaced = append(append(replaced, text[end:begin]...), hiddenName(address)...)
		end = after
	}
	return append(replaced, text[end:]...)
}

// skipEscape returns the end of an escape sequence of JSON of which position i is the first character after the backslash, or after its u; otherwise i.
func skipEscape(text []byte, i int) int {
	switch {
	case i >= 2 && i+4 <= len(text) && text[i-1] == 'u' && isBackslash(text, i-2):
		return i + 4
	case i >= 1 && i < len(text) && strings.IndexByte("bfnrt", text[i]) >= 0 && isBackslash(text, i-1):
		return i + 1
	}
	return i
}

// isEscaped reports whether the character at a position is the last one of an escape sequence of JSON.
func isEscaped(text []byte, i int) bool {
	return skipEscape(text, i) == i+1 || i >= 3 && skipEscape(text, i-3) == i+1
}

// isBackslash reports whether a position has a backslash that begins an escape sequence.
func isBackslash(text []byte, i int) bool {
	n := 0
	for ; i-n >= 0 && text[i-n] == '\\'; n++ {
	}
	return n%2 == 1
}

// isWord reports whether a character is part of a word, as in Class::method.
func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// hiddenName returns the name of an address that a client may not see. Nobody can find out the address by trying all: the seed is the process's own.
func hiddenName(address string) string {
	return fmt.Sprintf("(address %06x)", maphash.String(seed, address)&0xffffff)
}

// endpointOf returns the identity of the endpoint that a page has named, which may be an address that it does not see.
func (h *Handler) endpointOf(name string) string {
	for _, service := range h.app.ServiceOverviews() {
		for _, e := range service.Endpoints {
			if hiddenName(e.ID) == name {
				return e.ID
			}
		}
	}
	return name
}
