package registry

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Name is one of the names of a service, with the port at which its containers listen.
type Name struct {
	// Host is a Compose service or a container ("web"), one of a certain Compose project ("shop/web"), or a name for DNS.
	Host string
	Port uint16
}

// String returns the name as routes write it, such as "shop/web:8080".
func (n Name) String() string { return n.Host + ":" + strconv.Itoa(int(n.Port)) }

// Project returns the Compose project in the name, or "".
func (n Name) Project() string {
	if project, _, ok := strings.Cut(n.Host, "/"); ok {
		return project
	}
	return ""
}

// HostPort returns the name without its project: "web:8080".
func (n Name) HostPort() string { return strings.TrimPrefix(n.String(), n.Project()+"/") }

// ParseName parses NAME:PORT or PROJECT/NAME:PORT. The port is a number from 1 to 65535.
func ParseName(text string) (Name, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return Name{}, fmt.Errorf("service %q: want NAME:PORT, such as bigcapital-server:3000", text)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return Name{}, fmt.Errorf("service %q: the port must be a number from 1 to 65535", text)
	}
	project, rest, hasProject := strings.Cut(host, "/")
	if strings.ContainsAny(host, "{}@, \t") || hasProject && (project == "" || rest == "" || strings.Contains(rest, "/")) {
		return Name{}, fmt.Errorf("service %q: %q is not a valid container or service name", text, host)
	}
	if host != strings.ToLower(host) {
		return Name{}, fmt.Errorf("service %q: names are compared in lower case; write %q", text, strings.ToLower(text))
	}
	return Name{host, uint16(port)}, nil
}

// ParseNames parses a service: a name, or several with commas between them, which form one pool. It returns the names sorted.
func ParseNames(service string) ([]Name, error) {
	var names []Name
	for text := range strings.SplitSeq(service, ",") {
		n, err := ParseName(text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, n) {
			return nil, fmt.Errorf("service %q: %s is there twice", service, n)
		}
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b Name) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port)) })
	return names, nil
}

// NormalizeService returns the one spelling of a service that has several names: they are sorted.
func NormalizeService(service string) (string, error) {
	names, err := ParseNames(service)
	if err != nil {
		return "", err
	}
	return joinNames(names), nil
}

// FindServices returns the names of those services that an operator means by text: one of their names, such as "shop/web:8080"; a name
// without its port; a name without its project, if only one project has it; or "shop/" for all of the project shop. The error says that
// there is none, or which there are.
func FindServices(services []ServiceStatus, text string) ([]string, error) {
	parts := strings.Split(text, ",")
	find := func(isMatch func(n Name, part string) bool) (found []ServiceStatus) {
		for _, s := range services {
			isMeant := func(n Name) bool {
				return slices.ContainsFunc(parts, func(part string) bool { return isMatch(n, part) })
			}
			if s.Service == text || slices.ContainsFunc(s.qualifiedNames(), isMeant) {
				found = append(found, s)
			}
		}
		return found
	}
	found := find(func(n Name, part string) bool { return n.String() == part || n.Host == part || n.Project()+"/" == part })
	if len(found) == 0 {
		found = find(func(n Name, part string) bool {
			host := strings.TrimPrefix(n.Host, n.Project()+"/")
			return n.HostPort() == part || host == part
		})
		var projects []string
		for _, s := range found {
			projects = append(projects, s.Projects...)
		}
		if slices.Sort(projects); len(slices.Compact(projects)) > 1 {
			return nil, fmt.Errorf("%q is a service of several projects: name one of %s", text, serviceNames(found))
		}
	}
	if len(found) == 0 && slices.ContainsFunc(services, func(s ServiceStatus) bool { return slices.Contains(s.Projects, text) }) {
		return nil, fmt.Errorf("no service %q; all of the project are %q", text, text+"/")
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no service %q (known: %s)", text, cmp.Or(serviceNames(services), "none"))
	}
	names := make([]string, len(found))
	for i, s := range found {
		names[i] = s.Service
	}
	return names, nil
}

// qualifiedNames returns the names of the service, those without a project also with each project that its endpoints are of.
func (s ServiceStatus) qualifiedNames() []Name {
	names, err := ParseNames(s.Service)
	if err != nil { // kept from an earlier version
		return nil
	}
	for _, n := range slices.Clone(names) {
		for _, project := range s.Projects {
			if n.Project() == "" {
				names = append(names, Name{project + "/" + n.Host, n.Port})
			}
		}
	}
	return names
}

func serviceNames(services []ServiceStatus) string {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.Service
	}
	return strings.Join(names, ", ")
}

func joinNames(names []Name) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = n.String()
	}
	return strings.Join(texts, ",")
}
