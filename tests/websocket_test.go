package tests

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// echoOverWebSocket sends n messages and expects an echo of each.
func echoOverWebSocket(t *testing.T, p *project, url string, n int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: p.Client(false, nil)})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	for i := range n {
		if err := conn.Write(ctx, websocket.MessageText, []byte(testMessage(i))); err != nil {
			return fmt.Errorf("write message %d: %w", i, err)
		}
		_, got, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("read message %d: %w", i, err)
		}
		if string(got) != testMessage(i) {
			return fmt.Errorf("message %d came back as %q", i, got)
		}
	}
	return conn.Close(websocket.StatusNormalClosure, "")
}
