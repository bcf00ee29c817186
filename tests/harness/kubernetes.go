package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Kubernetes is a cluster of one node: etcd, the control plane, containerd and a kubelet, in a network namespace of their own. There is one at a time
// on a machine. It needs root, and the programs of tests/kubernetes-setup.
type Kubernetes struct {
	Dir string // has all its files

	bin        string // the directory of the programs
	netns      string
	othersPods []string // the network namespaces of pods that were there before
	processes  map[string]*Process
	mounts     *Process // has the mount namespace of containerd and the kubelet
}

const (
	// KubernetesNode is the node's address. Its NodePorts can be reached from this machine.
	KubernetesNode = "10.198.0.11"

	kubernetesHost = "10.198.0.1"    // this machine
	kubernetesPods = "10.244.0.0/24" // the addresses of pods, which this machine reaches, too
	apiServerPort  = "16443"
	pauseImage     = "edge-test/pause:test"
)

// StartKubernetes starts a cluster that has images of the machine's Docker Engine. bin is the directory of the programs.
func StartKubernetes(ctx context.Context, bin string, images ...string) (k *Kubernetes, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start Kubernetes: this needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "ek-") // short, because the length of socket paths is limited
	if err != nil {
		return nil, err
	}
	k = &Kubernetes{Dir: dir, bin: bin, netns: filepath.Base(dir), processes: make(map[string]*Process)}
	if k.othersPods, err = podNamespaces(); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	defer func() {
		if err != nil {
			for name := range k.processes {
				err = fmt.Errorf("%w\nthe last lines of %s:\n%s", err, name, k.Log(name))
			}
			k, err = nil, errors.Join(err, k.Remove())
		}
	}()
	for _, step := range []func(context.Context) error{k.makeNetwork, k.makeCertificates, k.writeConfig, k.startControlPlane, k.startNode} {
		if err := step(ctx); err != nil {
			return k, err
		}
	}
	if err := k.loadImages(ctx, images); err != nil {
		return k, err
	}
	if err := EventuallyContext(ctx, StateTimeout, "the node is ready", func() bool {
		out, err := k.Kubectl(ctx, "", "get", "node", "node1", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		return err == nil && out == "True"
	}); err != nil {
		return k, err
	}
	for name, p := range k.processes {
		if p.HasEnded() {
			return k, fmt.Errorf("%s has ended:\n%s", name, k.Log(name))
		}
	}
	return k, nil
}

func (k *Kubernetes) path(name string) string { return filepath.Join(k.Dir, name) }

// makeNetwork makes the namespace, and routes to the node and its pods.
func (k *Kubernetes) makeNetwork(ctx context.Context) error {
	return runIP(ctx,
		"netns add "+k.netns, "-netns "+k.netns+" link set lo up",
		"link add ek-host type veth peer name eth0 netns "+k.netns,
		"address add "+kubernetesHost+"/24 dev ek-host", "link set ek-host up",
		"-netns "+k.netns+" address add "+KubernetesNode+"/24 dev eth0", "-netns "+k.netns+" link set eth0 up",
		"-netns "+k.netns+" route add default via "+kubernetesHost,
		"route add "+kubernetesPods+" via "+KubernetesNode,
	)
}

// writeConfig writes the files that the programs read.
func (k *Kubernetes) writeConfig(context.Context) error {
	files := map[string]string{
		"cri/containerd.toml": `version = 2
root = "LAB/cri/root"
state = "LAB/cri/state"
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "LAB/cri/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/` + pauseImage + `"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "LAB/cri/cni"
`,
		"cri/cni/10-bridge.conflist": `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
"ipam": {"type": "host-local", "dataDir": "LAB/cri/ipam", "ranges": [[{"subnet": "` + kubernetesPods + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`,
		"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: LAB/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: LAB/node.crt
tlsPrivateKeyFile: LAB/node.key
cgroupDriver: cgroupfs
cgroupRoot: /
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://LAB/cri/c.sock
resolvConf: ""
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: "50Mi"}
imageGCHighThresholdPercent: 100
podLogsDir: LAB/podlogs
healthzPort: 0
nodeStatusUpdateFrequency: 5s
localStorageCapacityIsolation: false
`,
		"proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: LAB/admin.conf}
mode: iptables
bindAddress: ` + KubernetesNode + `
clusterCIDR: ` + kubernetesPods + `
hostnameOverride: node1
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(k.path(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(k.path(name), []byte(strings.ReplaceAll(text, "LAB", k.Dir)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// start starts one of the programs in the network namespace.
func (k *Kubernetes) start(name, program string, args ...string) error {
	p, err := Start(exec.Command("nsenter", append([]string{"--net=/run/netns/" + k.netns, program}, args...)...), k.path(name+".log"))
	if err == nil {
		k.processes[name] = p
	}
	return err
}

// startControlPlane starts etcd, the API server, the controllers and the scheduler.
func (k *Kubernetes) startControlPlane(ctx context.Context) error {
	if err := k.start("etcd", filepath.Join(k.bin, "etcd"), "--data-dir", k.path("etcd"), "--listen-client-urls", "http://127.0.0.1:22379", "--advertise-client-urls",
		"http://127.0.0.1:22379", "--listen-peer-urls", "http://127.0.0.1:22380", "--unsafe-no-fsync", "--log-level", "warn"); err != nil {
		return err
	}
	if err := k.StartAPIServer(ctx); err != nil {
		return err
	}
	if err := k.start("controllers", filepath.Join(k.bin, "kube-controller-manager"), "--kubeconfig", k.path("admin.conf"), "--service-account-private-key-file", k.path("sa.key"),
		"--root-ca-file", k.path("ca.crt"), "--leader-elect=false", "--bind-address=127.0.0.1"); err != nil {
		return err
	}
	return k.start("scheduler", filepath.Join(k.bin, "kube-scheduler"), "--kubeconfig", k.path("admin.conf"), "--leader-elect=false", "--bind-address=127.0.0.1")
}

// StartAPIServer starts the API server, and waits until it answers.
func (k *Kubernetes) StartAPIServer(ctx context.Context) error {
	if err := k.start("api", filepath.Join(k.bin, "kube-apiserver"), "--etcd-servers=http://127.0.0.1:22379", "--bind-address=0.0.0.0", "--advertise-address="+KubernetesNode,
		"--secure-port="+apiServerPort, "--tls-cert-file="+k.path("api.crt"), "--tls-private-key-file="+k.path("api.key"), "--client-ca-file="+k.path("ca.crt"),
		"--kubelet-client-certificate="+k.path("kubelet-client.crt"), "--kubelet-client-key="+k.path("kubelet-client.key"), "--service-account-key-file="+k.path("sa.pub"),
		"--service-account-signing-key-file="+k.path("sa.key"), "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC"); err != nil {
		return err
	}
	return EventuallyContext(ctx, StateTimeout, "the API server answers", func() bool {
		_, err := k.Kubectl(ctx, "", "get", "--raw", "/readyz")
		return err == nil
	})
}

// startNode starts containerd, the kubelet and kube-proxy. The first two share mounts, which no other program sees.
func (k *Kubernetes) startNode(ctx context.Context) (err error) {
	if err := os.MkdirAll(k.path("kubelet"), 0o700); err != nil {
		return err
	}
	script := `mount --bind "$0" "$0" && mount --make-rshared "$0" && echo ready && exec sleep infinity`
	if k.mounts, err = Start(exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, k.path("kubelet")), k.path("mounts.log")); err != nil {
		return err
	}
	if err := EventuallyContext(ctx, StateTimeout, "the mount namespace is ready", func() bool { return strings.Contains(k.mounts.Output(), "ready") }); err != nil {
		return err
	}
	mounts := fmt.Sprintf("--mount=/proc/%d/ns/mnt", k.mounts.PID())
	if err := k.start("containerd", "nsenter", mounts, "containerd", "--config", k.path("cri/containerd.toml")); err != nil {
		return err
	}
	if err := EventuallyContext(ctx, StateTimeout, "containerd answers", func() bool {
		_, err := k.ctr(ctx, "version")
		return err == nil
	}); err != nil {
		return err
	}
	if err := k.start("kubelet", "nsenter", mounts, filepath.Join(k.bin, "kubelet"), "--config", k.path("kubelet.yaml"), "--kubeconfig", k.path("node.conf"),
		"--root-dir", k.path("kubelet"), "--cert-dir", k.path("kubelet/pki"), "--hostname-override", "node1", "--node-ip", KubernetesNode); err != nil {
		return err
	}
	return k.start("proxy", filepath.Join(k.bin, "kube-proxy"), "--config", k.path("proxy.yaml"))
}

// loadImages gives the node images of the machine's Docker Engine, and one for the process that keeps the namespaces of a pod.
func (k *Kubernetes) loadImages(ctx context.Context, images []string) error {
	build := exec.CommandContext(ctx, "docker", "build", "--tag", pauseImage, "-")
	build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	build.Stdin = strings.NewReader("FROM edge-test/base:test\nCMD [\"sleep\", \"infinity\"]\n")
	if _, err := run(build); err != nil {
		return err
	}
	tar := k.path("images.tar")
	if _, err := RunDocker(ctx, append([]string{"save", "--output", tar, pauseImage}, images...)...); err != nil {
		return err
	}
	_, err := k.ctr(ctx, "images", "import", tar)
	return errors.Join(err, os.Remove(tar))
}

func (k *Kubernetes) ctr(ctx context.Context, args ...string) (string, error) {
	return run(exec.CommandContext(ctx, "ctr", append([]string{"--address", k.path("cri/c.sock"), "--namespace", "k8s.io"}, args...)...))
}

// Kubectl runs kubectl, and returns what it printed to stdout, without the last newline.
func (k *Kubernetes) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(k.bin, "kubectl"), append([]string{"--kubeconfig", k.path("admin.conf")}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+k.Dir) // for its cache
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	out, err := run(cmd)
	return strings.TrimSpace(out), err
}

// Signal sends a signal to one of the programs: etcd, api, controllers, scheduler, containerd, kubelet or proxy.
func (k *Kubernetes) Signal(name string, s syscall.Signal) error { return k.processes[name].Signal(s) }

// Stop ends one of the programs.
func (k *Kubernetes) Stop(name string) error { return k.processes[name].Stop(syscall.SIGTERM) }

// Log returns the end of the output of one of the programs.
func (k *Kubernetes) Log(name string) string {
	if p := k.processes[name]; p != nil {
		return lastLines(p.Output(), 40)
	}
	return ""
}

// Remove ends the cluster, and removes what it has made.
func (k *Kubernetes) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	stop := func(names ...string) {
		for _, name := range names {
			if p := k.processes[name]; p != nil && !p.HasEnded() {
				_ = p.Signal(syscall.SIGCONT)
				_ = p.Stop(syscall.SIGKILL) // it may end in this moment
			}
		}
	}
	stop("kubelet", "proxy", "scheduler", "controllers", "api", "etcd")
	if p := k.processes["containerd"]; p != nil && !p.HasEnded() {
		errs = append(errs, EventuallyContext(ctx, StateTimeout, "no task runs", func() bool {
			tasks, err := k.ctr(ctx, "tasks", "list", "--quiet")
			for _, id := range strings.Fields(tasks) {
				_, _ = k.ctr(ctx, "tasks", "delete", "--force", id) // one may end with another
			}
			return err == nil && tasks == ""
		}))
		_ = p.Stop(syscall.SIGTERM)
	}
	if k.mounts != nil {
		_ = k.mounts.Stop(syscall.SIGKILL) // and with it, its mounts
	}
	_, err := run(exec.CommandContext(ctx, "ip", "netns", "delete", k.netns)) // with the other end of its link
	errs = append(errs, err, removeCgroups("kubepods"), k.removePodNamespaces())
	return errors.Join(append(errs, os.RemoveAll(k.Dir))...)
}

// podNamespaces returns the names that container runtimes have given to the network namespaces of pods.
func podNamespaces() ([]string, error) { return filepath.Glob("/run/netns/cni-*") }

// removePodNamespaces removes the names of the pods' network namespaces, which were mounted where only containerd saw them.
func (k *Kubernetes) removePodNamespaces() error {
	names, err := podNamespaces()
	errs := []error{err}
	for _, name := range names {
		if !slices.Contains(k.othersPods, name) {
			errs = append(errs, os.Remove(name))
		}
	}
	return errors.Join(errs...)
}

// removeCgroups removes a cgroup that has no processes: in each hierarchy of cgroup v1, or in that of v2.
func removeCgroups(name string) error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		return err
	}
	if _, err := os.Stat("/sys/fs/cgroup/" + name); err == nil {
		dirs = append(dirs, "/sys/fs/cgroup/"+name)
	}
	for _, dir := range dirs {
		// A directory of a cgroup is removed with what it has, but not one that has directories.
		out, err := exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").CombinedOutput()
		if err != nil && !strings.Contains(string(out), "busy") { // a kubelet of this machine has it
			return fmt.Errorf("remove %s: %w: %s", dir, err, lastLines(string(out), 1))
		}
	}
	return nil
}
