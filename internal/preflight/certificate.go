package preflight

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"
	"time"
)

// certificateNotice is how long before its end a certificate is a warning. Nothing renews those that are files.
const certificateNotice = 60 * 24 * time.Hour

// checkCertificates checks when the certificates end that services mount as files.
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
			const hint = "make a new one; docs/databases-apart.md says how, for connections to databases on another machine"
			day := certificate.NotAfter.UTC().Format(time.DateOnly)
			switch left := certificate.NotAfter.Sub(c.Now()); {
			case left <= 0:
				all = append(all, errorFinding("certificate", hint, "%s: the certificate in %s has ended on %s", service.Name, m.Source, day))
			case left < certificateNotice:
				all = append(all, warningFinding("certificate", hint, "%s: the certificate in %s ends on %s", service.Name, m.Source, day))
			default:
				all = append(all, okFinding("certificate", "%s is valid until %s", m.Source, day))
			}
		}
	}
	return all
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
