package harness

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// makeCertificates makes an authority, the certificates of the programs, their kubeconfigs, and the key that signs tokens.
func (k *Kubernetes) makeCertificates(context.Context) error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	errs := []error{k.writePEM("ca.crt", "CERTIFICATE", ca.cert.Raw)}
	for _, c := range []struct {
		name, user, group string
		dns               []string
		ips               []net.IP
	}{
		{"api", "kube-apiserver", "", []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"}, []net.IP{net.ParseIP(KubernetesNode), net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)}},
		{"admin", "admin", "system:masters", nil, nil},
		{"node", "system:node:node1", "system:nodes", []string{"node1"}, []net.IP{net.ParseIP(KubernetesNode), net.IPv4(127, 0, 0, 1)}},
		{"kubelet-client", "kube-apiserver-kubelet-client", "system:masters", nil, nil},
	} {
		cert, key, err := ca.issue(c.user, c.group, c.dns, c.ips)
		if err != nil {
			return err
		}
		errs = append(errs, k.writePEM(c.name+".crt", "CERTIFICATE", cert), k.writeKey(c.name+".key", key), k.writeKubeconfig(c.name))
	}
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	return errors.Join(append(errs, err, k.writeKey("sa.key", signer), k.writePEM("sa.pub", "PUBLIC KEY", public))...)
}

func (k *Kubernetes) writePEM(name, kind string, der []byte) error {
	return os.WriteFile(k.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func (k *Kubernetes) writeKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return k.writePEM(name, "PRIVATE KEY", der)
}

// writeKubeconfig writes NAME.conf, which says how the one with that certificate reaches the API server.
func (k *Kubernetes) writeKubeconfig(name string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: "https://%s:%s", certificate-authority: %s}}]
users: [{name: u, user: {client-certificate: %s, client-key: %s}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
current-context: c
`, KubernetesNode, apiServerPort, k.path("ca.crt"), k.path(name+".crt"), k.path(name+".key"))
	return os.WriteFile(k.path(name+".conf"), []byte(text), 0o600)
}

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// issue returns a certificate for clients and servers, and its key.
func (a *authority) issue(user, group string, dns []string, ips []net.IP) (cert []byte, key crypto.Signer, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: user}, DNSNames: dns, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	cert, err = x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	return cert, key, err
}
