package affinity_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/theworklabs/edge/internal/affinity"
	"github.com/theworklabs/edge/internal/engineio"
	"github.com/theworklabs/edge/internal/registry"
)

// The edge learns a socket.io session from the response that begins it, and sends the session's later requests to the same endpoint.
func ExampleBinder() {
	r := registry.New(registry.Options{})
	defer r.Close()
	service, err := r.Declare("api:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	binder := affinity.New(affinity.Options{Service: service, Sessions: engineio.NewTable(1000), Adopted: engineio.NewTable(1000)})

	handshake := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=polling", nil)
	response := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain; charset=UTF-8"}},
		Body: io.NopCloser(strings.NewReader(`0{"sid":"k3Vq0bXw9TzR5mJdAAAC","pingInterval":25000,"pingTimeout":20000}`)),
	}
	binder.HandleResponse(handshake, binder.Bind(handshake), "api-2", response)

	poll := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=polling&sid=k3Vq0bXw9TzR5mJdAAAC", nil)
	fmt.Println(binder.Bind(poll).SessionEndpoint)
	// Output: api-2
}
