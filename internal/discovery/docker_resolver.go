package discovery

import (
	"net/netip"
	"os"
	"strings"
)

// HasDockerResolver reports whether the resolver configuration in file, such as /etc/resolv.conf, names Docker's embedded DNS, as it does in
// the containers of Compose projects, but not on hosts. If the file can't be read, nobody knows, and it reports true.
func HasDockerResolver(file string) bool {
	docker := netip.MustParseAddrPort(DefaultResolver).Addr().String()
	content, err := os.ReadFile(file)
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" && fields[1] == docker {
			return true
		}
	}
	return false
}
