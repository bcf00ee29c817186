//go:build linux

package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/gateways"
)

// Server is a gate.
type Server struct {
	log     *slog.Logger
	user    int
	askers  *net.UnixListener
	sockets []*socket

	mu     sync.Mutex
	leases []*lease // the oldest first
}

// socket is what a gate keeps open: a TCP socket, or a group of UDP sockets.
type socket struct {
	address Address
	tcp     *net.TCPListener
	udp     *group
}

// lease is an asker that has sockets.
type lease struct {
	conn *net.UnixConn
	name string
	role Role
}

// Open opens the sockets, and the unix socket at path, which only processes of the user can use. The directory of path must belong to the
// user, so that no other one can put a socket in its place.
func Open(ctx context.Context, path string, addresses []Address, log *slog.Logger) (_ *Server, err error) {
	s := &Server{log: log, user: os.Geteuid()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if len(addresses) == 0 {
		return nil, errors.New("name at least one address, such as --listen :443")
	}
	if len(addresses) > maxSockets {
		return nil, fmt.Errorf("%d addresses: a gate opens at most %d", len(addresses), maxSockets)
	}
	for _, a := range addresses {
		opened, err := open(ctx, a)
		if err != nil {
			return nil, err
		}
		s.sockets = append(s.sockets, opened)
	}
	if s.askers, err = listenForAskers(path); err != nil {
		return nil, err
	}
	return s, nil
}

func open(ctx context.Context, a Address) (*socket, error) {
	if a.Network == "udp" {
		g, err := newGroup(ctx, a.Address)
		return &socket{address: a, udp: g}, err
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	ln, err := config.Listen(ctx, a.Network, a.Address)
	if err != nil {
		return nil, err
	}
	return &socket{address: a, tcp: ln.(*net.TCPListener)}, nil
}

// listenForAskers opens the unix socket. A gate that was killed has left its own behind.
func listenForAskers(path string) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("the directory of the gate's socket: %w", err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s belongs to user %d and has mode %04o: it must belong to user %d, the gate's, and have mode 0700", dir, owner, info.Mode().Perm(), os.Geteuid())
	}
	if conn, err := net.Dial("unixpacket", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: another gate serves it", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// Addresses returns where the sockets of the gate listen.
func (s *Server) Addresses() []Address {
	all := make([]Address, len(s.sockets))
	for i, opened := range s.sockets {
		all[i] = opened.address
	}
	return all
}

// Serve answers those who ask, until the context ends. It closes all sockets; those that an asker has stay open in its process.
func (s *Server) Serve(ctx context.Context) error {
	defer s.close()
	stop := context.AfterFunc(ctx, func() { _ = s.askers.Close() })
	defer stop()
	pending := make(chan struct{}, maxPending)
	for {
		conn, err := s.askers.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // such as: too many open files
			s.log.Error("an asker was not accepted", "error", err)
			time.Sleep(acceptPause)
			continue
		}
		pending <- struct{}{}
		go func() {
			ask := s.greet(conn)
			<-pending
			if ask == askForSockets {
				s.serve(conn)
			}
			_ = conn.Close()
		}()
	}
}

const (
	// maxPending is how many askers may have sent nothing yet. Others wait in the queue of the unix socket.
	maxPending = 16
	// askTimeout is how long an asker may take to say what it wants.
	askTimeout  = time.Second
	acceptPause = 100 * time.Millisecond
)

// greet returns what the asker wants, or 0 if it is not answered. It answers those that ask for the gate's health.
func (s *Server) greet(conn *net.UnixConn) byte {
	_ = conn.SetReadDeadline(time.Now().Add(askTimeout))
	ask := make([]byte, 2)
	n, err := conn.Read(ask) // first, because an answer is lost if a question was not read
	_ = conn.SetReadDeadline(time.Time{})
	if peer, err := peerOf(conn); err != nil || int(peer.Uid) != s.user {
		s.log.Warn("an asker is refused: it is another user", "user", peer.Uid, "pid", peer.Pid, "error", err)
		s.refuse(conn, fmt.Sprintf("it serves user %d, and the asker is user %d", s.user, peer.Uid))
		return 0
	}
	switch {
	case err == nil && n == 1 && ask[0] == askForSockets:
		return askForSockets
	case err == nil && n == 1 && ask[0] == askForHealth:
		_ = s.send(conn, message{}, nil) // it may have gone
		return askForHealth
	case n > 0:
		s.refuse(conn, "it does not understand the question; use an edge and a gate of one version")
	}
	return 0
}

func peerOf(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return new(unix.Ucred), err
	}
	peer := new(unix.Ucred)
	var failed error
	err = raw.Control(func(fd uintptr) {
		var got *unix.Ucred
		if got, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed == nil {
			peer = got
		}
	})
	return peer, errors.Join(err, failed)
}

func (s *Server) refuse(conn *net.UnixConn, why string) {
	_ = s.send(conn, message{Error: why}, nil) // it may have gone
}

// serve gives the sockets to an asker, and waits until it ends.
func (s *Server) serve(conn *net.UnixConn) {
	l, err := s.lend(conn)
	if err != nil {
		s.log.Warn("an asker is refused", "error", err)
		s.refuse(conn, err.Error())
		return
	}
	s.log.Info("the sockets are lent", "asker", l.name)
	for said := make([]byte, 1); ; {
		if n, err := conn.Read(said); err != nil || n == 0 {
			break
		}
		s.hear(l, said[0])
	}
	s.takeBack(l)
	s.log.Info("the asker has ended", "asker", l.name)
}

// lend gives the sockets to an asker.
func (s *Server) lend(conn *net.UnixConn) (*lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leases) >= maxAskers {
		return nil, fmt.Errorf("%d processes have the sockets, and no more may", len(s.leases))
	}
	l := &lease{conn: conn, role: Starting}
	if peer, err := peerOf(conn); err == nil {
		l.name = fmt.Sprintf("pid %d", peer.Pid) // 0 for a process of another container
	}
	first := message{Gateways: gateways.Default()}
	var descriptors []syscall.Conn
	for _, opened := range s.sockets {
		offer := offered{Address: opened.address}
		if opened.udp == nil {
			descriptors = append(descriptors, opened.tcp)
		} else {
			member, err := opened.udp.join(l)
			if err != nil {
				s.leave(l)
				return nil, err
			}
			offer.Member = member
			descriptors = append(descriptors, opened.udp.members[member].conn)
		}
		first.Sockets = append(first.Sockets, offer)
	}
	s.leases = append(s.leases, l)
	first.Roles, first.Self, first.Members = s.roles(), len(s.leases)-1, s.members()
	if err := s.send(conn, first, descriptors); err != nil {
		s.leave(l)
		return nil, err
	}
	s.tell(l)
	return l, nil
}

// hear changes the role of an asker to what it says, and tells all askers.
func (s *Server) hear(l *lease, said byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case said == sayReady && l.role == Starting:
		l.role = Ready
	case said == sayTake:
		l.role = Serving
	case said == sayLeave && l.role == Serving:
		l.role = Leaving
	case said == sayLeave && l.role == Ready: // it has no connections
		l.role = Starting
	default:
		return
	}
	s.choose()
	s.tell(nil)
}

// choose has the oldest asker that is ready serve, if none does. The caller holds s.mu.
func (s *Server) choose() {
	var next *lease
	for _, l := range s.leases {
		if l.role == Serving {
			return
		}
		if l.role == Ready && next == nil {
			next = l
		}
	}
	if next != nil {
		next.role = Serving
	}
}

// takeBack ends a lease, and tells the other askers.
func (s *Server) takeBack(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(l)
	s.choose()
	s.tell(nil)
}

// leave removes a lease. The caller holds s.mu.
func (s *Server) leave(l *lease) {
	for i := range s.leases {
		if s.leases[i] == l {
			s.leases = append(s.leases[:i:i], s.leases[i+1:]...)
			break
		}
	}
	for _, opened := range s.sockets {
		if opened.udp == nil {
			continue
		}
		if err := opened.udp.leave(l, len(s.leases) == 0); err != nil {
			s.log.Error("packets may go to the wrong process", "address", opened.address, "error", err)
		}
	}
}

// tell tells all askers but one who is there. The caller holds s.mu.
func (s *Server) tell(except *lease) {
	for i, l := range s.leases {
		if l != except {
			_ = s.send(l.conn, message{Roles: s.roles(), Self: i, Members: s.members()}, nil) // an asker that has ended is noticed by its reader
		}
	}
}

// roles returns the roles of the askers, the oldest first. The caller holds s.mu.
func (s *Server) roles() []Role {
	all := make([]Role, len(s.leases))
	for i, l := range s.leases {
		all[i] = l.role
	}
	return all
}

// members returns the member of each group that each asker has. The caller holds s.mu.
func (s *Server) members() map[Index][]int {
	members := make(map[Index][]int)
	for i, opened := range s.sockets {
		if opened.udp != nil {
			members[i] = opened.udp.membersOf(s.leases)
		}
	}
	return members
}

// close closes all sockets of the gate.
func (s *Server) close() {
	if s.askers != nil {
		_ = s.askers.Close()
	}
	for _, opened := range s.sockets {
		switch {
		case opened.tcp != nil:
			_ = opened.tcp.Close()
		case opened.udp != nil:
			opened.udp.close()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.leases {
		_ = l.conn.Close()
	}
}
