package socketio

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

// servePoll answers with what waits for the client, or as soon as something does.
func (s *session) servePoll(w http.ResponseWriter, r *http.Request) {
	if !s.beginPoll() {
		// Two polls at once would tear the packets' order, so the protocol has this end the session.
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

// poll returns at least one packet. While a WebSocket is taking over it doesn't wait, since the client
// moves on only when no poll is left.
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
		case <-ctx.Done(): // the client is gone, and with it what it was sent
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
	begun := !s.pollActive
	s.pollActive = true
	return begun
}

func (s *session) endPoll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pollActive = false
}

// servePost takes a body of packets.
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
	w.Header().Set("Content-Type", "text/html") // what a browser gets from the original
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, "ok")
}
