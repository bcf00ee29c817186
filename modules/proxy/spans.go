package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/theworklabs/edge/internal/redact"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

// Names of the spans that the edge adds to the span of Caddy's directive `tracing`, if that records the request.
const (
	holdSpan    = "hold"    // from when the request waits for an endpoint, or for the end of a maintenance, until it does not
	attemptSpan = "attempt" // from when an endpoint is claimed until the response is complete, or the attempt has failed
	tunnelSpan  = "tunnel"  // from the 101 response until both connections are closed
)

// Attributes of the spans. Those of attempts are completed by OpenTelemetry's own: server.address, server.port, http.request.resend_count,
// http.response.status_code, error.type.
const (
	serviceAttribute  = attribute.Key("edge.service")
	endpointAttribute = attribute.Key("edge.endpoint") // the container's ID
	attemptsAttribute = attribute.Key("edge.attempts")
	heldAttribute     = attribute.Key("edge.held_ms")
	closedByAttribute = attribute.Key("edge.tunnel.closed_by")
	reasonAttribute   = attribute.Key("edge.tunnel.close_reason")
	receivedAttribute = attribute.Key("edge.tunnel.bytes_from_client")
	sentAttribute     = attribute.Key("edge.tunnel.bytes_from_endpoint")
)

// propagator writes the trace's context into requests, in the formats of OTEL_PROPAGATORS.
var propagator = sync.OnceValue(func() propagation.TextMapPropagator { return autoprop.NewTextMapPropagator() })

// recordingSpan returns the span of the request; nil if it is not recorded.
func recordingSpan(req *http.Request) trace.Span {
	if span := trace.SpanFromContext(req.Context()); span.IsRecording() {
		return span
	}
	return nil
}

// startSpan starts a child of the request's span. It must only be called if there is one.
func (x *exchange) startSpan(name string, kind trace.SpanKind, attributes ...attribute.KeyValue) trace.Span {
	_, span := x.span.TracerProvider().Tracer("edge").Start(x.req.Context(), name, trace.WithSpanKind(kind),
		trace.WithAttributes(append(attributes, serviceAttribute.String(x.Service))...))
	return span
}

// startHoldSpan starts the span of the time for which the request is held. It returns the function that ends it.
func (x *exchange) startHoldSpan() func() {
	if x.span == nil {
		return func() {}
	}
	span := x.startSpan(holdSpan, trace.SpanKindInternal)
	return func() { span.End() }
}

// startSpan starts the span of the attempt. The request that the endpoint gets names it as its parent.
func (a *attempt) startSpan() {
	if a.exchange.span == nil {
		return
	}
	endpoint := a.claim.Endpoint()
	attributes := append(make([]attribute.KeyValue, 0, 8),
		attribute.String("http.request.method", a.exchange.req.Method), endpointAttribute.String(endpoint.ID()))
	if host, port, err := net.SplitHostPort(endpoint.Address()); err == nil {
		number, _ := strconv.Atoi(port) // numeric, as Docker tells it
		attributes = append(attributes, attribute.String("server.address", host), attribute.Int("server.port", number))
	}
	if a.times.attempts > 0 {
		attributes = append(attributes, attribute.Int("http.request.resend_count", a.times.attempts))
	}
	a.span = a.exchange.startSpan(attemptSpan, trace.SpanKindClient, attributes...)
	a.request.Header = a.exchange.req.Header.Clone()
	propagator().Inject(trace.ContextWithSpan(a.request.Context, a.span), propagation.HeaderCarrier(a.request.Header))
}

// noteResponse notes in the attempt's span that the response begins.
func (a *attempt) noteResponse(resp *http.Response) {
	if a.span == nil {
		return
	}
	a.span.AddEvent("response begins")
	a.span.SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
	if resp.StatusCode >= http.StatusInternalServerError {
		a.span.SetStatus(codes.Error, "")
		a.span.SetAttributes(attribute.String("error.type", strconv.Itoa(resp.StatusCode)))
	}
}

// endSpan ends the attempt's span; err is why the attempt failed, or nil.
func (a *attempt) endSpan(err error) {
	if a.span == nil {
		return
	}
	if err != nil {
		if !errors.Is(a.exchange.req.Context().Err(), context.Canceled) { // a client that leaves is no fault
			a.span.SetStatus(codes.Error, err.Error())
		}
		a.span.SetAttributes(attribute.String("error.type", a.classify(err).String()))
	}
	a.span.End()
}

// describeSpan notes in the request's span what happened to the request before its response.
func (x *exchange) describeSpan(err error) {
	if x.span == nil {
		return
	}
	x.redactPath()
	x.span.SetAttributes(serviceAttribute.String(x.Service), attemptsAttribute.Int(x.times.attempts), heldAttribute.Float64(milliseconds(x.times.held)))
	if x.endpoint != nil {
		x.span.SetAttributes(endpointAttribute.String(x.endpoint.ID()))
	}
	if err != nil && !errors.Is(err, errHijacked) && !errors.Is(err, context.Canceled) {
		x.span.SetStatus(codes.Error, err.Error())
	}
}

// redactPath removes secrets from the path that Caddy's `tracing` has put into the request's span. It may be another one than that of the request by now.
func (x *exchange) redactPath() {
	span, ok := x.span.(sdktrace.ReadOnlySpan)
	if !ok {
		return
	}
	for _, a := range span.Attributes() {
		if path := a.Value.AsString(); a.Key == "url.path" && redact.Path(path) != path {
			x.span.SetAttributes(a.Key.String(redact.Path(path)))
		}
	}
}

// startTunnelSpan starts the span of a tunnel. It returns the function that ends it with the tunnel's report.
func (x *exchange) startTunnelSpan(e *registry.Endpoint, protocol string) func(tunnel.Report) {
	if x.span == nil {
		return func(tunnel.Report) {}
	}
	span := x.startSpan(tunnelSpan, trace.SpanKindInternal, endpointAttribute.String(e.ID()), attribute.String("network.protocol.name", protocol))
	return func(r tunnel.Report) {
		span.SetAttributes(closedByAttribute.String(r.ClosedBy), reasonAttribute.String(r.Reason), receivedAttribute.Int64(r.FromClient), sentAttribute.Int64(r.FromEndpoint))
		span.End()
	}
}
