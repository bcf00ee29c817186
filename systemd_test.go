package edge_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// installPage tells how to install the units of deploy/ on a host.
const installPage = "docs/install-on-a-host.md"

// unitKeys are the settings that the units use, by section. systemd ignores a setting that it does not know, so that a misspelled one
// would protect nothing.
var unitKeys = map[string][]string{
	"Unit": {"After", "Description", "Documentation", "Wants"},
	"Service": {
		"AmbientCapabilities", "CapabilityBoundingSet", "ConfigurationDirectory", "DynamicUser", "Environment", "EnvironmentFile", "ExecReload",
		"ExecStart", "Group", "LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectClock",
		"ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
		"ProtectProc", "ProtectSystem", "Restart", "RestartSec", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime",
		"RestrictSUIDSGID", "RuntimeDirectory", "RuntimeDirectoryMode", "StateDirectory", "StateDirectoryMode", "SupplementaryGroups",
		"SystemCallArchitectures", "SystemCallErrorNumber", "SystemCallFilter", "TimeoutStopSec", "Type", "UMask", "User", "WorkingDirectory",
	},
	"Install": {"WantedBy"},
}

// TestSystemdUnitsAreValid parses the units, and lets systemd-analyze verify them where it is installed.
func TestSystemdUnitsAreValid(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Logf("only the names of settings are checked: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	units := files(t, ".service")
	dir := t.TempDir()
	for _, file := range units {
		unit := readUnit(t, file)
		if len(unit["Service.ExecStart"]) != 1 || len(unit["Install.WantedBy"]) != 1 {
			t.Errorf("%s: want one ExecStart and one WantedBy", file)
		}
		if analyze == "" {
			continue
		}
		// systemd-analyze wants the program to exist. It warns about an unknown setting, and exits with 0.
		text := strings.ReplaceAll(read(t, file), "/usr/local/bin/edge ", self+" ")
		name := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", name).CombinedOutput()
		if err != nil || strings.Contains(string(out), name) {
			t.Errorf("%s: systemd-analyze verify: %v\n%s", file, err, out)
		}
	}
	if len(units) != 2 {
		t.Errorf("found the units %q, want edge and edge-guard", units)
	}
}

// TestInstallPageMatchesTheUnits: the commands of the page use the paths, the user and the address of the units.
func TestInstallPageMatchesTheUnits(t *testing.T) {
	text := read(t, installPage)
	edge, guard := readUnit(t, "deploy/edge.service"), readUnit(t, "deploy/edge-guard.service")
	setting := func(unit map[string][]string, key, prefix string) string {
		values := unit["Service."+key]
		if len(values) != 1 || !strings.HasPrefix(values[0], prefix) {
			t.Fatalf("%s is %q, want one that begins with %q", key, values, prefix)
		}
		return strings.TrimPrefix(values[0], prefix)
	}
	user, state := setting(edge, "User", ""), "/var/lib/"+setting(edge, "StateDirectory", "")
	caddyfile := setting(edge, "ExecStart", "/usr/local/bin/edge run --config ")
	for _, want := range []string{
		"sudo install -m 755 edge /usr/local/bin/edge\n",
		"sudo install -m 644 deploy/edge.service deploy/edge-guard.service /etc/systemd/system/\n",
		"sudo install -m 644 Caddyfile " + caddyfile + "\n",
		"sudo install -m 600 /dev/null " + setting(edge, "EnvironmentFile", "") + "\n",
		"--home-dir " + state + " --no-create-home --shell /usr/sbin/nologin " + user + "\n",
		"EDGE_DOCKER_HOST=tcp://" + setting(guard, "ExecStart", "/usr/local/bin/edge guard --listen ") + "\n",
		"admin unix//run/" + setting(edge, "RuntimeDirectory", "") + "/admin.sock\n",
		"rm -rf /etc/" + setting(edge, "ConfigurationDirectory", "") + " " + state + " ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q", installPage, want)
		}
	}
	if reload := setting(edge, "ExecReload", "/usr/local/bin/edge reload --config "); reload != caddyfile {
		t.Errorf("a reload reads %s, and the start %s", reload, caddyfile)
	}
	if groups := edge["Service.SupplementaryGroups"]; len(groups) > 0 {
		t.Errorf("the edge is in the groups %q: only the socket proxy may open Docker's socket", groups)
	}
	grace := regexp.MustCompile(`(?m)^    stop_grace_period: (\S+)$`).FindStringSubmatch(read(t, "compose.yaml")) // the first is the edge's
	if stop := setting(edge, "TimeoutStopSec", ""); grace == nil || stop != grace[1] {
		t.Errorf("systemd waits %s for the end of the edge, and Compose %q", stop, grace)
	}
}

// readUnit returns the settings of a unit, by SECTION.KEY. It reports lines that are none, and settings that no unit uses.
func readUnit(t *testing.T, file string) map[string][]string {
	t.Helper()
	settings := make(map[string][]string)
	section := ""
	for i, line := range strings.Split(read(t, file), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, isSetting := strings.Cut(line, "=")
		if !isSetting || !slices.Contains(unitKeys[section], key) {
			t.Errorf("%s:%d: unknown setting in [%s]: %s", file, i+1, section, line)
		}
		settings[section+"."+key] = append(settings[section+"."+key], value)
	}
	return settings
}
