package discovery

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
)

// checkingSink is a sink that checks the members that it gets.
type checkingSink struct {
	t       *testing.T
	members map[string][]registry.Member
}

func (a checkingSink) Set(name string, members []registry.Member) {
	a.members[name] = members
	for _, m := range members {
		if m.ID == "" || (m.Phase == registry.Running || m.Phase == registry.Terminating) && !m.Addr.IsValid() {
			a.t.Errorf("%s has the member %+v, without an ID or an address", name, m)
		}
	}
}

func (a checkingSink) SetProblem(string, string) {}
func (a checkingSink) Withdraw(name string)      { delete(a.members, name) }
func (a checkingSink) SetOnline(bool)            {}

// FuzzEngineListAndEvents: the Docker Engine may send any list, and any events after it, one JSON value in a line.
func FuzzEngineListAndEvents(f *testing.F) {
	const list = `[{"Id":"a1","Names":["/p-api-1"],"State":"running","Labels":{"com.docker.compose.project":"p","com.docker.compose.service":"api"},` +
		`"NetworkSettings":{"Networks":{"n":{"IPAddress":"10.0.0.2"}}}}]`
	for _, events := range []string{
		`{"Type":"container","Action":"kill","Actor":{"ID":"a1","Attributes":{"signal":"15"}},"timeNano":1}` + "\n" + `{"Type":"container","Action":"die","Actor":{"ID":"a1"}}`,
		`{"Type":"container","Action":"health_status: unhealthy","Actor":{"ID":"a1"}}`,
		`{"Type":"container","Action":"pause","Actor":{"ID":"a1"}}` + "\n" + `{"Type":"container","Action":"unpause","Actor":{"ID":"a1"}}`,
		`{"Type":"network","Action":"disconnect","Actor":{"ID":"n","Attributes":{"container":"a1"}}}`,
		`{"Type":"container","Action":"destroy","Actor":{"ID":"a1"}}` + "\n" + `{"Type":"container","Action":"start","Actor":{"ID":"a1"}}`,
		`{"Action":"kill","Actor":{"Attributes":{"signal":"","edge.stop_signals":",,SIGHUP"}}}`, `{}`, `null`, `garbage`,
	} {
		f.Add(list, events)
	}
	f.Add(`[{"Id":"","Names":["/"],"NetworkSettings":{"Networks":{"n":null}}},{}]`, `{}`)
	f.Fuzz(func(t *testing.T, list, stream string) {
		var containers []container.Summary
		if json.Unmarshal([]byte(list), &containers) != nil {
			return
		}
		sink := checkingSink{t, make(map[string][]registry.Member)}
		s := newSession(Engine{
			TerminationTimeout: time.Minute, Log: zap.NewNop(),
			Subnets: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} },
		}, sink)
		s.publish(s.index.applyFullList(containers, s.Subnets()))
		for decoder := json.NewDecoder(strings.NewReader(stream)); ; {
			var m events.Message
			if decoder.Decode(&m) != nil {
				break
			}
			s.applyEvents([]events.Message{m})
		}
		s.applyDeadlines(time.Now().Add(time.Hour))
		for name, projects := range s.index.byName {
			for project, ids := range projects {
				for id := range ids {
					if c := s.index.containers[id]; !slices.Contains(c.names, name) || c.project != project {
						t.Errorf("the name %q of project %q has the container %q, which does not have the name", name, project, id)
					}
				}
			}
		}
	})
}

// FuzzDNSAnswerYieldsOnlyLocalAddresses: a resolver may send any bytes.
func FuzzDNSAnswerYieldsOnlyLocalAddresses(f *testing.F) {
	for _, records := range [][]string{
		{"api. 600 IN A 10.0.0.2", "api. 600 IN A 10.0.0.3", "api. 600 IN A 10.0.0.2"},
		{"api. 1 IN A 8.8.8.8"},
		{"api. 1 IN AAAA fd00::1"},
		{"api. 1 IN AAAA ::ffff:10.0.0.2"},
		{"api. 1 IN CNAME other."},
		{},
	} {
		answer := new(dns.Msg).SetQuestion("api.", dns.TypeA)
		for _, text := range records {
			record, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			answer.Answer = append(answer.Answer, record)
		}
		packed, err := answer.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		f.Add(packed[:len(packed)/2])
	}
	subnets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}
	f.Fuzz(func(t *testing.T, packed []byte) {
		answer := new(dns.Msg)
		if answer.Unpack(packed) != nil {
			return
		}
		p := &dnsPoller{DNS: DNS{Log: zap.NewNop(), Subnets: func() []netip.Prefix { return subnets }}}
		last := netip.Addr{}
		for _, m := range p.members("api", addresses(answer), subnets, false) {
			if !inSubnets(m.Addr, subnets) || m.Addr.Compare(last) <= 0 || m.ID != m.Addr.String() {
				t.Errorf("member %+v after %s, want local addresses in order", m, last)
			}
			last = m.Addr
		}
	})
}
