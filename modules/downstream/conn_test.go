package downstream

import (
	"crypto/tls"
	"net"
	"testing"
)

// hiding is a wrapper as Caddy has them: it embeds the connection, and hides its methods.
type hiding struct{ net.Conn }

// naming is a connection that names the one inside, as those of keep_connections and of TLS do.
type naming struct{ net.Conn }

func (n naming) NetConn() net.Conn { return n.Conn }

func TestWrappersAreSeenThrough(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	tcp := dialled.(*net.TCPConn)
	secure := tls.Client(tcp, nil)
	pipe, _ := net.Pipe()
	for name, c := range map[string]struct {
		conn, unwrapped net.Conn
		tcp             *net.TCPConn
	}{
		"TCP":                        {tcp, tcp, tcp},
		"TLS":                        {secure, secure, tcp},
		"a wrapper":                  {hiding{tcp}, tcp, tcp},
		"a pointer to one":           {&hiding{tcp}, tcp, tcp},
		"two around TLS":             {hiding{&hiding{secure}}, secure, tcp},
		"one around keep_connection": {hiding{naming{tcp}}, naming{tcp}, tcp},
		"no TCP":                     {hiding{pipe}, pipe, nil},
	} {
		if got := Unwrap(c.conn); got != c.unwrapped {
			t.Errorf("%s: unwrapped is %T, want %T", name, got, c.unwrapped)
		}
		if got := tcpOf(c.conn); got != c.tcp {
			t.Errorf("%s: the TCP connection is %v", name, got)
		}
	}
}
