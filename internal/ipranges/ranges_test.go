package ipranges

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "10.1.2.3/8": "10.0.0.0/8", "2001:db8::1": "2001:db8::1/128", "2001:db8::1/32": "2001:db8::/32",
		"::ffff:192.0.2.7": "192.0.2.7/32", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::/0": "::/0", "fe80::1%eth0": "fe80::1/128", "fe80::1%eth0/64": "",
		"": "", "localhost": "", "10.0.0.0/33": "", "10.0.0": "", "10.0.0.1:80": "",
	} {
		got, err := Parse(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q: got %s, %v, want %q", text, got, err, want)
		}
	}
}

func TestContains(t *testing.T) {
	for addr, want := range map[string]bool{
		"10.255.0.1": true, "172.31.0.1": true, "172.32.0.1": false, "192.168.1.1": true, "127.0.0.1": true, "::1": true, "fd12::1": true, "fd12::1%eth0": true,
		"::ffff:10.0.0.1": true, "::ffff:8.8.8.8": false, "8.8.8.8": false, "2001:db8::1": false, "": false, "@": false, "10.0.0.1:80": false,
	} {
		if got := Private().ContainsText(addr); got != want {
			t.Errorf("%q: got %v, want %v", addr, got, want)
		}
	}
	if Set(nil).ContainsText("127.0.0.1") {
		t.Error("the empty set has an address")
	}
}
