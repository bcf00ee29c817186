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

// fixedAddresses returns the addresses of a host that needs no resolver: an IP address is its own address, and a name in the hosts
// file has the addresses there. It returns none, and no error, if the resolver has to be asked. As in [lookup], it returns IPv6
// addresses only if there are no IPv4 ones.
func fixedAddresses(file, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // an image built from scratch, outside of Docker
	}
	if err != nil {
		return nil, fmt.Errorf("read the hosts file: %w", err)
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

// parseHostsLine returns the address in a line of a hosts file if the line is about host. A line has an address, names and a comment
// (hosts(5)).
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
