package contract_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// tracing is a real SDK's provider that keeps what it is given.
type tracing struct {
	*sdk.TracerProvider
	spans *tracetest.InMemoryExporter
}

func newTracing() *tracing {
	e := tracetest.NewInMemoryExporter()
	return &tracing{sdk.NewTracerProvider(sdk.WithSyncer(e)), e}
}

// next waits for a span of that name, the only one that has ended since the last, and takes it.
func (x *tracing) next(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	wstest.Eventually(t, "a span "+name, func() bool { return len(x.spans.GetSpans()) > 0 })
	all := x.spans.GetSpans()
	x.spans.Reset()
	if len(all) != 1 || all[0].Name != name || all[0].InstrumentationScope.Name != "github.com/wskit/wskit" {
		t.Fatalf("spans %+v", all)
	}
	return all[0]
}

func attr(s tracetest.SpanStub, key attribute.Key) any {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.AsInterface()
		}
	}
	return nil
}

// served is a server whose requests each have a span of the server's, as with otelhttp.
func (x *tracing) served(t *testing.T, hub *wskit.Hub) *wstest.Server {
	tracer := x.Tracer("server")
	return wstest.Listen(t, wstest.TCP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := trace.ContextWithSpanContext(r.Context(), outer(t, tracer))
		if r = r.WithContext(ctx); r.URL.Path == "/ws" {
			_ = wskit.ServeWS(w, r, hub, nil)
		} else {
			_ = wskit.ServeSSE(w, r, hub)
		}
	}))
}

// outer is the context of a span that is not exported: it never ends.
func outer(t *testing.T, tracer trace.Tracer) trace.SpanContext {
	_, span := tracer.Start(t.Context(), "outer")
	return span.SpanContext()
}

// wskit.accept is a child of the request's span and ends with Accept, not with the connection; wskit.handle is a trace of its own, one for
// each message, linked to it, and the handler's context has it.
func TestAcceptAndHandleAreTraced(t *testing.T) {
	x, inside := newTracing(), make(chan trace.SpanContext, 9)
	hub := wstest.Run(t, wskit.WithTracerProvider(x), wskit.WithHandler(func(ctx context.Context, c *wskit.Client, m wskit.Message) error {
		inside <- trace.SpanContextFromContext(ctx)
		switch string(m.Data) {
		case "panic":
			panic("handler")
		case "error":
			return errHook
		case "close":
			return wskit.CloseError(4000, "")
		}
		return nil
	}))
	srv := x.served(t, hub.Hub)
	open := func() (*wstest.Peer, tracetest.SpanStub) {
		p := srv.Handshake(t, wstest.Handshake{})
		p.Upgraded(t)
		accept := x.next(t, "wskit.accept")
		if !accept.Parent.IsValid() || accept.Parent.TraceID() != accept.SpanContext.TraceID() || accept.SpanKind != trace.SpanKindInternal ||
			attr(accept, "network.protocol.name") != "websocket" || accept.Status.Code != codes.Unset {
			t.Errorf("%+v", accept)
		}
		return p, accept
	}
	p, accept := open()
	for _, message := range []string{"1", "22"} {
		p.Say(t, message)
		handle := x.next(t, "wskit.handle")
		if handle.Parent.IsValid() || handle.SpanKind != trace.SpanKindConsumer || len(handle.Links) != 1 ||
			!handle.Links[0].SpanContext.Equal(accept.SpanContext) || handle.SpanContext.TraceID() == accept.SpanContext.TraceID() {
			t.Errorf("%+v", handle)
		}
		if in := wstest.Receive(t, "the handler", inside); !in.Equal(handle.SpanContext) {
			t.Error("the handler's context has another span")
		}
		if attr(handle, "messaging.system") != "wskit" || attr(handle, "messaging.operation.name") != "handle" || attr(handle, "messaging.message.body.size") != int64(len(message)) {
			t.Error(handle.Attributes)
		}
	}
	for message, want := range map[string]codes.Code{"panic": codes.Error, "error": codes.Error, "close": codes.Unset} {
		p, _ := open()
		p.Say(t, message)
		if handle := x.next(t, "wskit.handle"); handle.Status.Code != want {
			t.Errorf("%s: %+v", message, handle.Status)
		}
	}
}

// A stream's wskit.accept ends when it is open; a refusal is an error, with its status.
func TestAStreamAndARefusalAreTraced(t *testing.T) {
	x := newTracing()
	hub := wstest.Run(t, wskit.WithTracerProvider(x), wskit.WithMaxSubscribers(1))
	srv := x.served(t, hub.Hub)
	s := srv.Stream(t)
	if accept := x.next(t, "wskit.accept"); !accept.Parent.IsValid() || attr(accept, "network.protocol.name") != "sse" || accept.Status.Code != codes.Unset {
		t.Errorf("%+v", accept)
	}
	srv.Stream(t)
	if accept := x.next(t, "wskit.accept"); accept.Status.Code != codes.Error || attr(accept, "http.response.status_code") != int64(200) {
		t.Errorf("%+v", accept)
	}
	srv.Handshake(t, wstest.Handshake{})
	if accept := x.next(t, "wskit.accept"); accept.Status.Code != codes.Error || attr(accept, "http.response.status_code") != int64(503) {
		t.Errorf("%+v", accept)
	}
	s.End()
	hub.Count(t, 0)
	if more := x.spans.GetSpans(); len(more) > 0 {
		t.Errorf("%+v", more)
	}
}

// wskit.publish is a producer's, a child of what is in ctx.
func TestPublishingIsTraced(t *testing.T) {
	x := newTracing()
	hub := wstest.Run(t, wskit.WithTracerProvider(x))
	of := outer(t, x.Tracer("program"))
	ctx := trace.ContextWithSpanContext(t.Context(), of)
	hub.Broadcast([]byte("has no context"))
	for name, publish := range map[string]func() error{
		"BroadcastContext":      func() error { return hub.BroadcastContext(ctx, []byte("12")) },
		"BroadcastEvent":        func() error { return hub.BroadcastEvent(ctx, 12) },
		"BroadcastEventContext": func() error { return hub.BroadcastEventContext(ctx, 12) },
		"of a topic":            func() error { return hub.Topic("a").BroadcastEventContext(ctx, 12) },
		"of a user":             func() error { return hub.User("a").BroadcastContext(ctx, []byte("12")) },
	} {
		no(t, publish())
		span := x.next(t, "wskit.publish")
		if span.Parent.SpanID() != of.SpanID() || span.SpanContext.TraceID() != of.TraceID() || span.SpanKind != trace.SpanKindProducer ||
			span.Status.Code != codes.Unset || attr(span, "messaging.operation.name") != "publish" || attr(span, "messaging.message.body.size") != int64(2) {
			t.Errorf("%s: %+v", name, span)
		}
	}
	hub.Halt(t)
	is(t, hub.BroadcastContext(ctx, nil), wskit.ErrHubStopped)
	if span := x.next(t, "wskit.publish"); span.Status.Code != codes.Error {
		t.Errorf("%+v", span)
	}
}

// What a client that speaks the subprotocol publishes is a child of the handling of its command.
func TestACommandIsTraced(t *testing.T) {
	x := newTracing()
	hub := wstest.Run(t, wskit.WithTracerProvider(x), wskit.WithHistory(wskit.History{}), wskit.WithAuthorizePublish(func(context.Context, wskit.Subscriber, string) error { return nil }))
	p := wstest.Serve(t, hub.Hub, wstest.Serving{}).Handshake(t, wstest.Handshake{Header: map[string]string{"Sec-WebSocket-Protocol": wskit.Subprotocol}})
	p.Upgraded(t)
	x.next(t, "wskit.accept")
	p.Say(t, `{"op":"publish","data":1}`)
	wstest.Eventually(t, "two spans", func() bool { return len(x.spans.GetSpans()) == 2 })
	all := x.spans.GetSpans()
	if all[0].Name != "wskit.publish" || all[1].Name != "wskit.handle" || all[0].Parent.SpanID() != all[1].SpanContext.SpanID() || len(all[1].Links) != 1 {
		t.Errorf("%+v", all)
	}
}

// rudeProvider panics when it is asked for a tracer, or the tracer does.
type rudeProvider struct {
	embedded.TracerProvider
	early bool
}

func (r rudeProvider) Tracer(string, ...trace.TracerOption) trace.Tracer {
	if r.early {
		panic("Tracer")
	}
	return rudeTracer{}
}

type rudeTracer struct{ embedded.Tracer }

func (rudeTracer) Start(context.Context, string, ...trace.SpanStartOption) (context.Context, trace.Span) {
	panic("Start")
}

// "a panic in it costs that span and is reported". A hub that others embed has the provider in its Config.
func TestATracerProviderMayPanic(t *testing.T) {
	for _, early := range []bool{true, false} {
		hub, events := wstest.Embed(t, hubactor.Config{TracerProvider: rudeProvider{early: early}})
		p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{}).Peer(t)
		no(t, hub.BroadcastContext(t.Context(), []byte("1")))
		p.Expect(t, "1")
		if !early {
			wstest.Eventually(t, "it is reported, of Accept and of BroadcastContext", func() bool {
				n := 0
				for _, e := range events.All() {
					if f, is := e.(*actors.Failed); is && f.Op == "TracerProvider" {
						n++
					}
				}
				return n == 2
			})
		}
	}
}
