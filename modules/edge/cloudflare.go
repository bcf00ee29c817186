package edge

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/trustedproxies"
)

func getCloudflare(*http.Request) (any, error) { return trustedproxies.CurrentCloudflareList(), nil }

// postCloudflare has another list of Cloudflare's addresses count.
func postCloudflare(r *http.Request) (any, error) {
	list := new(trustedproxies.CloudflareList)
	if err := decodeBody(r, list); err != nil {
		return nil, err
	}
	ctx := caddy.ActiveContext()
	if ctx.Context == nil {
		return nil, apiError(http.StatusServiceUnavailable, errors.New("no configuration runs"))
	}
	if err := list.Validate(); err != nil {
		return nil, apiError(http.StatusBadRequest, err)
	}
	if present := trustedproxies.CurrentCloudflareList().Date; list.Date < present {
		return nil, apiError(http.StatusConflict, fmt.Errorf("the list of %s is older than the present one, of %s", list.Date, present))
	}
	if err := trustedproxies.SetCloudflareList(r.Context(), ctx.Storage(), list); err != nil {
		return nil, apiError(http.StatusInternalServerError, err)
	}
	return list, nil
}
