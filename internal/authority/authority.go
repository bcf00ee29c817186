// Package authority makes a private certificate authority, whose certificates let the hosts of a stack trust each other and nobody else.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// How long certificates are valid. Neither is renewed by itself: `edge check` warns before they end.
const (
	authorityLifetime   = 20 * 365 * 24 * time.Hour
	certificateLifetime = 5 * 365 * 24 * time.Hour
)

// clockSkew is how far the clocks of two hosts may differ.
const clockSkew = time.Hour

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes an authority with a key of its own, whose certificate begins at now.
func New(name string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate, key}, nil
}

// Parse reads an authority from the texts of its certificate and its key.
func Parse(certificatePEM, keyPEM []byte) (*Authority, error) {
	certificate, err := ParseCertificate(certificatePEM)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("the key is not in PEM form")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse the key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("the key is not the certificate's")
	}
	return &Authority{certificate, key}, nil
}

// CertificatePEM returns the certificate by which others know what the authority has signed.
func (a *Authority) CertificatePEM() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// KeyPEM returns the key. Whoever has it can sign certificates.
func (a *Authority) KeyPEM() ([]byte, error) { return encodeKey(a.key) }

// Sign makes a certificate, and returns it with its key in one text, as HAProxy reads it. With hosts, which are names and addresses, it is a server's;
// without, a client's.
func (a *Authority) Sign(commonName string, hosts []string, now time.Time) ([]byte, error) {
	return a.sign(pkix.Name{CommonName: commonName}, hosts, now)
}

// SignMachine makes a client's certificate as Sign does, which says in its organization (O) which machine it is for.
func (a *Authority) SignMachine(commonName, machine string, now time.Time) ([]byte, error) {
	return a.sign(pkix.Name{CommonName: commonName, Organization: []string{machine}}, nil, now)
}

func (a *Authority) sign(subject pkix.Name, hosts []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: subject,
		NotBefore: now.Add(-clockSkew), NotAfter: earlier(now.Add(certificateLifetime), a.certificate.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return append(encode("CERTIFICATE", der), keyPEM...), nil
}

// ParseCertificate returns the first certificate in a text.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("there is no certificate in PEM form")
}

func newSerial() *big.Int {
	text := make([]byte, 16)
	_, _ = rand.Read(text) // it never returns an error
	text[0] &= 0x7f        // positive, as RFC 5280, section 4.1.2.2, requires
	return new(big.Int).SetBytes(text)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return encode("PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
