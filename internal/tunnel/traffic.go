package tunnel

import "sync/atomic"

// Traffic counts open tunnels and the bytes that they forward, and adds both to its parent too. The zero Traffic is ready
// for use. It is safe for concurrent use.
type Traffic struct {
	// Parent is nil or counts more tunnels, such as those of a service for the Traffic of an endpoint. Set it before use.
	Parent *Traffic

	Sockets      atomic.Int64 // open now
	FromClient   atomic.Int64 // bytes that were forwarded since the start
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

// addBytes counts bytes that one side, Client or Endpoint, has sent.
func (c *Traffic) addBytes(from string, n int) {
	for ; c != nil; c = c.Parent {
		if from == Client {
			c.FromClient.Add(int64(n))
		} else {
			c.FromEndpoint.Add(int64(n))
		}
	}
}
