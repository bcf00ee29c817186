package edge_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestFixedSubnetsAreOutsideOfDockersPools reads the subnets of the shipped Compose files. From its default pools, Docker may have given the same
// addresses to a network of another project, and then it refuses to create ours.
func TestFixedSubnetsAreOutsideOfDockersPools(t *testing.T) {
	files, err := filepath.Glob("compose*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("Compose files: %v, error %v", files, err)
	}
	pools := []netip.Prefix{
		netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("172.18.0.0/15"), netip.MustParsePrefix("172.20.0.0/14"),
		netip.MustParsePrefix("172.24.0.0/13"), netip.MustParsePrefix("192.168.0.0/16"),
	}
	// In ${NAME:-default}, the default.
	variable := regexp.MustCompile(`\$\{\w+:-([^}]*)\}`)
	subnets := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct {
			Networks map[string]struct {
				IPAM struct {
					Config []struct{ Subnet string }
				}
			}
		}
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for name, network := range parsed.Networks {
			for _, config := range network.IPAM.Config {
				subnet, err := netip.ParsePrefix(variable.ReplaceAllString(config.Subnet, "$1"))
				if err != nil {
					t.Errorf("%s, network %s: %v", file, name, err)
					continue
				}
				subnets++
				for _, pool := range pools {
					if pool.Overlaps(subnet) {
						t.Errorf("%s, network %s: %s is in Docker's pool %s", file, name, subnet, pool)
					}
				}
			}
		}
	}
	if subnets == 0 {
		t.Error("no network has a fixed subnet: this test checks nothing")
	}
}

// TestTheDatabasesAreTheSameOnAMachineOfTheirOwn compares the databases of compose.databases.yaml with those of compose.yaml. They differ in their networks, and
// in the hints about missing variables.
func TestTheDatabasesAreTheSameOnAMachineOfTheirOwn(t *testing.T) {
	hint := regexp.MustCompile(`:\?[^}]*\}`)
	services := func(file string) map[string]map[string]any {
		var parsed struct {
			Services map[string]map[string]any
		}
		if err := yaml.Unmarshal([]byte(hint.ReplaceAllString(read(t, file), "}")), &parsed); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return parsed.Services
	}
	here, there := services("compose.yaml"), services("compose.databases.yaml")
	for _, name := range []string{"bigcapital-mysql", "bigcapital-redis", "corteza-db"} {
		delete(here[name], "networks")
		delete(there[name], "networks")
		if len(there[name]) == 0 || !reflect.DeepEqual(here[name], there[name]) {
			t.Errorf("%s in compose.yaml is\n%v\nand in compose.databases.yaml\n%v", name, here[name], there[name])
		}
	}
}
