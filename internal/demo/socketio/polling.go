package socketio

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

// servePoll sends the queued packets, or waits for the first.
func (s *session) servePoll(w http.ResponseWriter, r *http.Request) {
	if !s.beginPoll() {
		// Two polls at once would mix up the order of packets, so the protocol ends the session.
		s.end()
		badRequest.write(w)
		return
	}
	defer s.endPoll()
	packets := s.poll(r.Context())
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, formatPayload(packets))
}

// poll returns at least one packet. It does not wait during an upgrade, since the client completes that only after its last
// poll has returned.
func (s *session) poll(ctx context.Context) []packet {
	for {
		packets, changed := s.takeQueue(polling)
		if len(packets) > 0 {
			return packets
		}
		if s.mustEndPoll() {
			return []packet{{kind: kindNoop}}
		}
		select {
		case <-changed:
		case <-ctx.Done(): // the client has closed the connection, and may have lost packets
			s.end()
			return []packet{{kind: kindClose}}
		case <-s.ctx.Done():
			packets, _ = s.takeQueue(polling)
			return append(packets, packet{kind: kindClose})
		}
	}
}

func (s *session) beginPoll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	isFirst := !s.pollActive
	s.pollActive = true
	return isFirst
}

func (s *session) endPoll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pollActive = false
}

// servePost handles a body of packets.
func (s *session) servePost(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.server.options.MaxPayload))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		s.end()
		payloadTooLarge.write(w)
		return
	}
	if err != nil || strings.HasPrefix(r.Header.Get("Content-Type"), "application/octet-stream") {
		s.end()
		badRequest.write(w)
		return
	}
	packets, err := parsePayload(string(body))
	if err != nil {
		s.end()
		badRequest.write(w)
		return
	}
	for _, p := range packets {
		if s.receive(p) != nil {
			badRequest.write(w)
			return
		}
	}
	w.Header().Set("Content-Type", "text/html") // as the original server sends to browsers
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, "ok")
}
