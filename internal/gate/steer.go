//go:build linux

package gate

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The sockets of one UDP address are a group (SO_REUSEPORT), in the order in which they were made. The kernel runs the group's filter,
// classic BPF, for each packet: its result is the member that gets the packet.

// netOffset is the constant SKF_NET_OFF of the kernel: offsets from there on are those of the IP header.
const netOffset = 0xfff00000

// Offsets in the headers.
const (
	ipv4Source     = 12
	ipv6Source     = 8
	ipv6HeaderSize = 40
)

// Multipliers of the key of a client, which distribute neighbouring addresses and ports.
const (
	addressFactor = 0x9e3779b1
	portFactor    = 0x85ebca6b
)

// clientKey returns the number that stands for a client's address and port in a filter. Two clients with the same number are possible, and
// harmless: the second one's packets reach a process that does not know its connection, and it opens another one.
func clientKey(client netip.AddrPort) uint32 {
	addr := client.Addr().Unmap()
	var folded uint32
	if addr.Is4() {
		folded = word(addr.AsSlice(), 0)
	} else {
		for i := range 4 {
			folded ^= word(addr.AsSlice(), 4*i)
		}
	}
	return folded*addressFactor + uint32(client.Port())*portFactor
}

func word(b []byte, at int) uint32 {
	return uint32(b[at])<<24 | uint32(b[at+1])<<16 | uint32(b[at+2])<<8 | uint32(b[at+3])
}

// toMember returns a filter that sends all packets to one member of the group.
func toMember(member int) []bpf.Instruction {
	return []bpf.Instruction{bpf.RetConstant{Val: uint32(member)}}
}

// chunk is how many comparisons of a filter have a common target; a jump reaches 255 instructions.
const chunk = 200

// toMemberOfClients returns a filter that sends the packets of some clients to a member, and all others to another member.
func toMemberOfClients(clients []netip.AddrPort, member, others int) []bpf.Instruction {
	keys := make([]uint32, 0, len(clients))
	for _, c := range clients {
		keys = append(keys, clientKey(c))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)

	program := loadClientKey()
	for part := range slices.Chunk(keys, chunk) {
		for i, key := range part {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: key, SkipTrue: uint8(len(part) - i)})
		}
		program = append(program, bpf.Jump{Skip: 1}, bpf.RetConstant{Val: uint32(member)})
	}
	return append(program, bpf.RetConstant{Val: uint32(others)})
}

// loadClientKey returns instructions that put the [clientKey] of a packet's source into the accumulator.
func loadClientKey() []bpf.Instruction {
	// Each part puts the source's address into the scratch 0, and its port into the accumulator.
	ipv4 := []bpf.Instruction{
		bpf.LoadAbsolute{Off: netOffset + ipv4Source, Size: 4},
		bpf.StoreScratch{Src: bpf.RegA, N: 0},
		bpf.LoadAbsolute{Off: netOffset, Size: 1}, // the length of the header, in words
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x0f},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.TAX{},
		bpf.LoadIndirect{Off: netOffset, Size: 2},
	}
	ipv6 := []bpf.Instruction{bpf.LoadAbsolute{Off: netOffset + ipv6Source, Size: 4}}
	for i := uint32(1); i < 4; i++ {
		ipv6 = append(ipv6, bpf.TAX{}, bpf.LoadAbsolute{Off: netOffset + ipv6Source + 4*i, Size: 4}, bpf.ALUOpX{Op: bpf.ALUOpXor})
	}
	ipv6 = append(
		ipv6,
		bpf.StoreScratch{Src: bpf.RegA, N: 0},
		bpf.LoadAbsolute{Off: netOffset + ipv6HeaderSize, Size: 2},
		bpf.Jump{Skip: uint32(len(ipv4))},
	)
	version := []bpf.Instruction{
		bpf.LoadAbsolute{Off: netOffset, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipFalse: uint8(len(ipv6))},
	}
	key := []bpf.Instruction{
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: portFactor},
		bpf.StoreScratch{Src: bpf.RegA, N: 1},
		bpf.LoadScratch{Dst: bpf.RegA, N: 0},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: addressFactor},
		bpf.LoadScratch{Dst: bpf.RegX, N: 1},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
	}
	return slices.Concat(version, ipv6, ipv4, key)
}

// maxClients is how many clients a filter has room for. Kernels limit the memory of a socket's filter to 20 KB (net.core.optmem_max).
const maxClients = 2000

// attach has the kernel use a filter for the group of the socket.
func attach(socket syscall.Conn, program []bpf.Instruction) error {
	return attachAs(socket, unix.SO_ATTACH_REUSEPORT_CBPF, program)
}

// Filters of a single socket, whose result is how many bytes of a packet it gets.
var (
	dropAll = []bpf.Instruction{bpf.RetConstant{Val: 0}}
	// dropNew drops the packets that begin a QUIC connection (RFC 9000 section 17.2, RFC 9369 section 3.2): after the UDP header, the first
	// byte says that it has a long header and the type Initial, whose bits depend on the version.
	dropNew = []bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 4},
		bpf.StoreScratch{Src: bpf.RegA, N: 0},
		bpf.LoadAbsolute{Off: 8, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0xc0, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0xd0, SkipFalse: 3},
		bpf.LoadScratch{Dst: bpf.RegA, N: 0},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x6b3343cf, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 18},
	}
)

// filterPackets has the kernel drop packets before the socket gets them; nil: none.
func filterPackets(socket syscall.Conn, program []bpf.Instruction) error {
	if program != nil {
		return attachAs(socket, unix.SO_ATTACH_FILTER, program)
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
	if errors.Is(failed, unix.ENOENT) { // there was none
		failed = nil
	}
	return cmp.Or(err, failed)
}

// attachAs attaches a filter by a socket option.
func attachAs(socket syscall.Conn, option int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, option, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	})
	if err := cmp.Or(err, failed); err != nil {
		return fmt.Errorf("attach a filter to a UDP socket: %w", err)
	}
	return nil
}

// attachForClients attaches a filter with as many of the clients as the kernel takes, and returns how many it left out.
func attachForClients(socket syscall.Conn, clients []netip.AddrPort, member, others int) (leftOut int, err error) {
	for n := min(len(clients), maxClients); ; n = n * 3 / 4 {
		err := attach(socket, toMemberOfClients(clients[:n], member, others))
		if err == nil {
			return len(clients) - n, nil
		}
		if !errors.Is(err, unix.ENOMEM) || n == 0 {
			return len(clients), err
		}
	}
}
