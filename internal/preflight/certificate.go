package preflight

import (
	"crypto/x509"
	"encoding/pem"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// certificateNotice is how long before its end a certificate is a warning. Nothing renews those that are files.
const certificateNotice = 60 * 24 * time.Hour

// checkCertificates checks when the certificates end that services mount as files, and those in the directory of a mounted authority that it has signed: clients
// of the service have them.
func (c *Check) checkCertificates(s *stack) []Finding {
	var all []Finding
	var seen []string
	for _, service := range s.activeServices() {
		for _, m := range service.Volumes {
			if m.Type != "bind" || slices.Contains(seen, m.Source) {
				continue
			}
			seen = append(seen, m.Source)
			certificate := readCertificate(m.Source)
			if certificate == nil {
				continue
			}
			all = append(all, c.checkCertificate(service.Name, m.Source, certificate))
			for name, signed := range signedBeside(m.Source, certificate) {
				if !slices.Contains(seen, name) && !s.mounts(name) {
					seen = append(seen, name)
					all = append(all, c.checkCertificate(service.Name, name, signed))
				}
			}
		}
	}
	return all
}

func (c *Check) checkCertificate(service, name string, certificate *x509.Certificate) Finding {
	const hint = "make a new one, as docs/cdn.md says for a CDN, and docs/databases-apart.md for databases on another machine"
	day := certificate.NotAfter.UTC().Format(time.DateOnly)
	switch left := certificate.NotAfter.Sub(c.Now()); {
	case left <= 0:
		return errorFinding("certificate", hint, "%s: the certificate in %s has ended on %s", service, name, day)
	case left < certificateNotice:
		return warningFinding("certificate", hint, "%s: the certificate in %s ends on %s", service, name, day)
	}
	return okFinding("certificate", "%s is valid until %s", name, day)
}

// mounts reports whether a service has a bind mount of a file.
func (s *stack) mounts(name string) bool {
	return slices.ContainsFunc(s.activeServices(), func(service *compose.Service) bool {
		return slices.ContainsFunc(service.Volumes, func(m compose.Mount) bool { return m.Source == name })
	})
}

// signedBeside returns the certificates in the directory of an authority's file that the authority has signed, by the names of their files in order.
func signedBeside(file string, authority *x509.Certificate) iter.Seq2[string, *x509.Certificate] {
	return func(yield func(string, *x509.Certificate) bool) {
		if !authority.IsCA {
			return
		}
		names, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.pem")) // a path with special characters has none
		for _, name := range names {
			signed := readCertificate(name)
			if name != file && signed != nil && !signed.Equal(authority) && signed.CheckSignatureFrom(authority) == nil && !yield(name, signed) {
				return
			}
		}
	}
}

// maxCertificateFile is the size of a file that may have one certificate or a few.
const maxCertificateFile = 1 << 20

// readCertificate returns the first certificate in a file, or nil if it has none, or cannot be read, or is a collection of authorities: one of those may
// have ended.
func readCertificate(name string) *x509.Certificate {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxCertificateFile {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var first *x509.Certificate
	count := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if count++; count == 1 {
			first, _ = x509.ParseCertificate(block.Bytes)
		}
	}
	if first != nil && first.IsCA && count > 1 {
		return nil
	}
	return first
}
