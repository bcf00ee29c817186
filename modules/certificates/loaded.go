package certificates

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// loadPoll is how often WaitUntilLoaded looks.
const loadPoll = 5 * time.Millisecond

// WaitUntilLoaded waits until Caddy has loaded the certificates that the storage has of the configuration's sites, which it does in the
// background, or the configuration or the context ends. It does not wait for those that are yet to be obtained.
func WaitUntilLoaded(ctx context.Context, config caddy.Context, storage certmagic.Storage) {
	for name := range Sites(config) {
		for !isServed(name) && isStored(ctx, storage, name) && ctx.Err() == nil && config.Err() == nil {
			select {
			case <-time.After(loadPoll):
			case <-ctx.Done():
			}
		}
	}
}

func isServed(name string) bool {
	_, isServed := servedCertificate(name)
	return isServed
}

// isStored reports whether the storage has a certificate for a name, of any issuer.
func isStored(ctx context.Context, storage certmagic.Storage, name string) bool {
	const prefix = "certificates"
	issuers, err := storage.List(ctx, prefix, false)
	if err != nil {
		return false // it has none
	}
	for _, issuer := range issuers {
		if storage.Exists(ctx, certmagic.StorageKeys.SiteCert(issuer[len(prefix)+1:], name)) {
			return true
		}
	}
	return false
}
