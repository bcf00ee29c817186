package harness

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// RunDocker runs the docker command and returns what it printed to stdout, without the last newline. An error has the end of what it
// printed to stderr.
func RunDocker(ctx context.Context, args ...string) (string, error) {
	out, err := run(exec.CommandContext(ctx, "docker", args...))
	return strings.TrimSpace(out), err
}

// MustDocker runs the docker command as RunDocker does, and fails the test on an error.
func MustDocker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := RunDocker(context.Background(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// run runs a command and returns what it printed to stdout. An error has the last 20 lines of stderr.
func run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, lastLines(stderr.String(), 20))
	}
	return stdout.String(), nil
}

// Containers returns the full IDs of a service's running containers, the oldest first.
func (p *Project) Containers(ctx context.Context, service string) ([]string, error) {
	out, err := RunDocker(ctx, "ps", "--no-trunc", "--quiet", "--filter", "label=com.docker.compose.project="+p.Name,
		"--filter", "label=com.docker.compose.service="+service, "--filter", "label=com.docker.compose.oneoff=False")
	ids := strings.Fields(out)
	slices.Reverse(ids) // docker lists the newest first
	return ids, err
}

// Container returns the ID of the service's oldest running container.
func (p *Project) Container(ctx context.Context, service string) (string, error) {
	ids, err := p.Containers(ctx, service)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%s has no running container", service)
	}
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// Addresses returns the IP addresses that a service's containers have on one of the project's networks.
func (p *Project) Addresses(ctx context.Context, service, network string) ([]string, error) {
	ids, err := p.Containers(ctx, service)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	format := fmt.Sprintf(`{{(index .NetworkSettings.Networks %q).IPAddress}}`, p.Name+"_"+network)
	out, err := RunDocker(ctx, append([]string{"inspect", "--format", format}, ids...)...)
	return strings.Fields(out), err
}

// BridgeGateway returns the host's address on Docker's default bridge: the first one of its subnet. A Docker Engine shows the gateway only after its
// second start.
func BridgeGateway(ctx context.Context) (string, error) {
	subnet, err := RunDocker(ctx, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", "bridge")
	if err != nil {
		return "", err
	}
	prefix, err := netip.ParsePrefix(subnet)
	if err != nil {
		return "", fmt.Errorf("subnet of Docker's bridge: %w", err)
	}
	return prefix.Masked().Addr().Next().String(), nil
}

// Gateway returns the host's address on one of the project's networks.
func (p *Project) Gateway(ctx context.Context, network string) (string, error) {
	return RunDocker(ctx, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", p.Name+"_"+network)
}
