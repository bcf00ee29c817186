package socketio

import "time"

// pingLoop pings the client, and returns when it doesn't answer in time or the session has ended otherwise.
func (s *session) pingLoop() {
	options := s.server.options
	timer := time.NewTimer(options.PingInterval)
	defer timer.Stop()
	for waiting := false; ; {
		select {
		case <-s.ctx.Done():
			return
		case <-s.pongs:
			if waiting {
				waiting = false
				timer.Reset(options.PingInterval)
			}
		case <-timer.C:
			if waiting {
				return
			}
			waiting = true
			s.push(packet{kind: kindPing})
			timer.Reset(options.PingTimeout)
		}
	}
}
