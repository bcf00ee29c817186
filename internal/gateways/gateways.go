// Package gateways finds the addresses under which Docker hides clients: those of a container's own gateways.
package gateways

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"strings"
)

// Default returns the gateways of this container's default routes. Outside of a container it returns none, because the gateway is a router
// there and no client's address.
func Default() []netip.Addr {
	if _, err := os.Stat("/.dockerenv"); err != nil {
		return nil
	}
	var gateways []netip.Addr
	for _, table := range []struct {
		path  string
		parse func(io.Reader) []netip.Addr
	}{{"/proc/net/route", parseRoutes}, {"/proc/net/ipv6_route", parseRoutes6}} {
		f, err := os.Open(table.path)
		if err != nil {
			continue // the kernel does not have it
		}
		gateways = append(gateways, table.parse(f)...)
		_ = f.Close() // nothing was written
	}
	return gateways
}

// parseRoutes reads the gateways of the default routes from Linux's /proc/net/route: columns of hexadecimal numbers in host byte
// order.
func parseRoutes(r io.Reader) []netip.Addr {
	var gateways []netip.Addr
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[1] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(fields[2])
		if err != nil || len(raw) != 4 {
			continue
		}
		var addr [4]byte
		binary.LittleEndian.PutUint32(addr[:], binary.BigEndian.Uint32(raw))
		gateways = append(gateways, netip.AddrFrom4(addr))
	}
	return gateways
}

// parseRoutes6 reads the gateways of the default routes from Linux's /proc/net/ipv6_route: destination, its prefix length, source, its
// prefix length, next hop and more, in hexadecimal digits.
func parseRoutes6(r io.Reader) []netip.Addr {
	var gateways []netip.Addr
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || fields[1] != "00" {
			continue
		}
		raw, err := hex.DecodeString(fields[4])
		if err != nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(raw); ok && addr.Is6() && !addr.IsUnspecified() {
			gateways = append(gateways, addr)
		}
	}
	return gateways
}
