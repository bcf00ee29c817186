package socketio

import "testing"

func TestLatePollTakesNoPacketsOfTheWebSocket(t *testing.T) {
	server := New(Options{})
	defer server.Close()
	s := newSession(server, webSocket)
	defer s.end()
	s.push(packet{kind: kindPing})
	if packets, _ := s.takeQueue(polling); len(packets) != 0 {
		t.Errorf("the poll took %v", packets)
	}
	if packets, _ := s.takeQueue(webSocket); len(packets) != 1 {
		t.Errorf("the WebSocket got %v", packets)
	}
}
