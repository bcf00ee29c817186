package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/theworklabs/edge/modules/trustedproxies"
)

// cloudflareAPI answers with Cloudflare's ranges, without a log-in: developers.cloudflare.com/api, "List Cloudflare IPs".
const cloudflareAPI = "https://api.cloudflare.com/client/v4/ips"

func cloudflareCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "cloudflare",
		Usage: "[refresh] [--url <url>] [--address <admin>]",
		Short: "Shows or refreshes the list of Cloudflare's addresses",
		Long: `
Shows the date of the list by which trusted_proxies cloudflare recognizes Cloudflare, and
its ranges. With refresh, gets the list from Cloudflare, and has the running edge use it at
once, and after restarts. A list that cannot be Cloudflare's is refused.

In the stack: docker compose exec edge edge cloudflare refresh

  --url      is where the list is.
  --address  is the admin address, as for edge status.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().String("url", cloudflareAPI, "Where the list is")
			cmd.Flags().String("address", "", "The admin API's address")
			cmd.RunE = runWithArgs(runCloudflare)
		},
	}
}

func runCloudflare(cmd *cobra.Command, args []string) error {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	admin := newAdminClient(flags.String("address"))
	const path = "/edge/cloudflare"
	var before trustedproxies.CloudflareList
	if _, err := admin.get(path, &before); err != nil {
		return err
	}
	switch {
	case len(args) == 0:
		fmt.Fprintf(cmd.OutOrStdout(), "the list of %s:\n", before.Date)
		for _, r := range before.Ranges {
			fmt.Fprintln(cmd.OutOrStdout(), r)
		}
		return nil
	case len(args) > 1 || args[0] != "refresh":
		return withHint(fmt.Errorf("cloudflare has no operation %q", args[0]), "edge cloudflare refresh")
	}
	list, err := fetchCloudflareList(cmd.Context(), flags.String("url"), time.Now())
	if err != nil {
		return withHint(err, "the list of %s still counts", before.Date)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if _, err := admin.post(path, body, nil, nil); err != nil {
		return err
	}
	for _, r := range list.Ranges {
		if !slices.Contains(before.Ranges, r) {
			fmt.Fprintf(cmd.OutOrStdout(), "new: %v\n", r)
		}
	}
	for _, r := range before.Ranges {
		if !slices.Contains(list.Ranges, r) {
			fmt.Fprintf(cmd.OutOrStdout(), "gone: %v\n", r)
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "the list has %d ranges, and the date %s\n", len(list.Ranges), list.Date)
	return nil
}

// fetchCloudflareList gets the list that Cloudflare publishes.
func fetchCloudflareList(ctx context.Context, url string, now time.Time) (*trustedproxies.CloudflareList, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	var answer struct {
		Success bool
		Result  struct {
			IPv4 []netip.Prefix `json:"ipv4_cidrs"`
			IPv6 []netip.Prefix `json:"ipv6_cidrs"`
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if !answer.Success {
		return nil, errors.New(url + " answered without success")
	}
	list := &trustedproxies.CloudflareList{Date: now.UTC().Format(time.DateOnly), Ranges: slices.Concat(answer.Result.IPv4, answer.Result.IPv6)}
	return list, list.Validate()
}
