package tunnel

import "sync/atomic"

// Traffic counts tunnels and their bytes while they are open, and adds all to its parent too. The zero Traffic is
// ready for use, and safe for concurrent use.
type Traffic struct {
	// Parent is nil or counts for more, such as a service for its endpoints. Set it before use.
	Parent *Traffic

	Sockets      atomic.Int64 // open now
	FromClient   atomic.Int64 // bytes that were passed on, ever
	FromEndpoint atomic.Int64
}

func (c *Traffic) opened() {
	for ; c != nil; c = c.Parent {
		c.Sockets.Add(1)
	}
}

func (c *Traffic) closed() {
	for ; c != nil; c = c.Parent {
		c.Sockets.Add(-1)
	}
}

// addBytes counts bytes that one side sent.
func (c *Traffic) addBytes(from string, n int) {
	for ; c != nil; c = c.Parent {
		if from == Client {
			c.FromClient.Add(int64(n))
		} else {
			c.FromEndpoint.Add(int64(n))
		}
	}
}
