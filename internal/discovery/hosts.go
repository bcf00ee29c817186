package discovery

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
)

// fixedAddresses returns the addresses of a host that need no resolver: of an IP address itself, or of a name in a hosts file.
// None, and no error, means that it has to be asked for. As in [lookup], IPv6 counts only where there is no IPv4.
func fixedAddresses(file, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // an image made from scratch, outside of Docker
	}
	if err != nil {
		return nil, fmt.Errorf("read the names of this machine: %w", err)
	}
	defer f.Close()
	var v4, v6 []netip.Addr
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		addr, ok := parseHostsLine(lines.Text(), host)
		switch {
		case !ok:
		case addr.Is4():
			v4 = append(v4, addr)
		default:
			v6 = append(v6, addr)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(v4) > 0 {
		return v4, nil
	}
	return v6, nil
}

// parseHostsLine returns the address in a line of a hosts file if it is one of host: an address, names, and a comment (hosts(5)).
func parseHostsLine(line, host string) (addr netip.Addr, ok bool) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(fields[0])
	if err != nil {
		return netip.Addr{}, false
	}
	for _, name := range fields[1:] {
		if strings.EqualFold(name, host) {
			return addr.Unmap(), true
		}
	}
	return netip.Addr{}, false
}
