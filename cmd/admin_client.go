package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// adminSocket is where the shipped Caddyfile puts the admin API.
const adminSocket = "/run/edge/admin.sock"

// adminClient calls the admin API of a running edge.
type adminClient struct{ address string }

// newAdminClient returns a client for the address that the flag --address gives, or else for the default one.
func newAdminClient(flag string) adminClient { return adminClient{adminAddress(flag)} }

// adminAddress returns the address of the admin API: the given one, else what EDGE_ADMIN names, else the socket of the shipped
// Caddyfile if it exists, else Caddy's default.
func adminAddress(given string) string {
	if given != "" {
		return given
	}
	if env := os.Getenv("EDGE_ADMIN"); env != "" {
		return env
	}
	if _, err := os.Stat(adminSocket); err == nil {
		return "unix/" + adminSocket
	}
	return "localhost:2019"
}

// get returns the body of the answer, and decodes it into a value unless that is nil.
func (c adminClient) get(path string, to any) ([]byte, error) {
	return c.do(http.MethodGet, path, nil, to, nil)
}

// post sends a body and returns that of the answer, which it decodes into a value unless that is nil. hints says what to do about an
// error, by its status.
func (c adminClient) post(path string, body []byte, to any, hints map[int]string) ([]byte, error) {
	return c.do(http.MethodPost, path, bytes.NewReader(body), to, hints)
}

func (c adminClient) do(method, path string, body io.Reader, to any, hints map[int]string) ([]byte, error) {
	resp, err := caddycmd.AdminAPIRequest(c.address, method, path, nil, body)
	if err != nil {
		return nil, explainAdminError(err, hints)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.address, err)
	}
	if to != nil {
		if err := json.Unmarshal(answer, to); err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", c.address, err)
		}
	}
	return answer, nil
}

// adminStatus matches the status in an error of caddycmd.AdminAPIRequest.
var adminStatus = regexp.MustCompile(`HTTP (\d{3}):`)

// explainAdminError returns the admin API's own message, without the JSON around it, and the hint for its status. An error without a
// status means that the edge can't be reached.
func explainAdminError(err error, hints map[int]string) error {
	match := adminStatus.FindStringSubmatch(err.Error())
	if match == nil {
		return withHint(err, "is the edge running? in a container: docker compose exec edge edge …; another address: --address")
	}
	status, _ := strconv.Atoi(match[1]) // three digits
	var answer struct{ Error string }
	_, text, _ := strings.Cut(err.Error(), "{")
	if json.Unmarshal([]byte("{"+text), &answer) == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if hint := hints[status]; hint != "" {
		return withHint(err, "%s", hint)
	}
	return err
}
