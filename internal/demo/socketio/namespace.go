package socketio

import (
	"crypto/rand"
	"encoding/json"
)

// deliver takes a message from the client. An error means that it broke the protocol.
func (s *session) deliver(text string) error {
	m, err := parseMessage(text)
	if err != nil {
		return err
	}
	switch {
	case m.namespace != "/":
		return s.turnAway(m)
	case m.kind == messageConnect:
		return s.join()
	case m.kind == messageDisconnect:
		s.leave()
	case m.kind == messageEvent:
		return s.dispatch(m)
	}
	return nil // an acknowledgement: nothing of ours asks for one
}

// turnAway refuses a namespace in the words of the original.
func (s *session) turnAway(m message) error {
	if m.kind != messageConnect {
		return errTurn
	}
	m.kind, m.data = messageError, json.RawMessage(`{"message":"Invalid namespace"}`)
	s.put(m.packet())
	return nil
}

// join lets the client in. The answer is queued before anyone can see the socket, so that no event overtakes it.
func (s *session) join() error {
	m, err := newMessage(messageConnect, "", map[string]string{"sid": rand.Text()})
	if err != nil {
		return err
	}
	socket := &Socket{s}
	s.mu.Lock()
	if s.gone || s.socket != nil {
		s.mu.Unlock()
		return errTurn
	}
	s.socket = socket
	s.enqueue(m.packet())
	s.mu.Unlock()
	s.server.options.Connected(socket)
	return nil
}

// dispatch gives an event to the application, and its answer to the client.
func (s *session) dispatch(m message) error {
	s.mu.Lock()
	socket := s.socket
	s.mu.Unlock()
	if socket == nil {
		return errTurn
	}
	name, arguments, err := m.event()
	if err != nil {
		return err
	}
	reply := s.server.options.Received(socket, name, arguments)
	if m.ack == "" {
		return nil
	}
	if reply == nil {
		reply = []any{}
	}
	answer, err := newMessage(messageAck, m.ack, reply)
	if err != nil {
		return err
	}
	s.send(answer)
	return nil
}

// joined reports whether the client is in the namespace.
func (s *session) joined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket != nil
}

// leave takes the client out, and tells the application once. It may come back as long as its session lasts.
func (s *session) leave() {
	s.mu.Lock()
	socket := s.socket
	s.socket = nil
	s.mu.Unlock()
	if socket != nil {
		s.server.options.Disconnected(socket)
	}
}

// leaveForGood is leave at the end of the session.
func (s *session) leaveForGood() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.leave()
}
