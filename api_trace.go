package wskit

import (
	"context"
	"errors"
	"net/http"

	"github.com/wskit/wskit/actors"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// WithTracerProvider has the hub make OpenTelemetry spans, with the tracer "github.com/wskit/wskit":
//   - wskit.accept (internal): from Accept, ServeWS, AcceptSSE or ServeSSE is called until the connection is registered, or refused; a
//     child of what is in the request's context. Its attributes are network.protocol.name ("websocket" or "sse") and, of one that was
//     refused, http.response.status_code.
//   - wskit.publish (producer): a BroadcastContext, BroadcastEvent, BroadcastJSON and the like, of a hub, topic or user; a child of what is
//     in its ctx.
//   - wskit.handle (consumer): one message of a client, while WithOnMessage and WithHandler have it, whose ctx it is in. It is a trace of
//     its own, linked to the connection's wskit.accept, since a connection may last for days.
//
// The last two have messaging.system ("wskit"), messaging.operation.name and messaging.message.body.size, in bytes. Nothing is said of
// topics, users or contents. An error is the span's status; one made by CloseError is none.
//
// nil: no spans, the default, which costs nothing. The provider is called on the goroutines of those calls and of the handlers; a panic in
// it costs that span and is reported.
func WithTracerProvider(p trace.TracerProvider) HubOption {
	return func(h *Hub) { h.cfg.TracerProvider = p }
}

// begin begins a span, of a hub that has a tracer. end is to be called once.
func (h *Hub) begin(ctx context.Context, name string, opts ...trace.SpanStartOption) (within context.Context, end func(error)) {
	within, span := ctx, trace.SpanFromContext(context.Background()) // which does nothing
	h.tracing(func() { within, span = h.up().Tracer.Start(ctx, name, opts...) })
	return within, func(err error) {
		h.tracing(func() {
			if not, ok := err.(*rejected); ok {
				span.SetAttributes(attribute.Int("http.response.status_code", not.status))
			}
			if err != nil && !errors.As(err, new(*actors.CloseError)) {
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		})
	}
}

func (h *Hub) tracing(fn func()) {
	if err := actors.Fence("TracerProvider", fn); err != nil {
		h.report("TracerProvider", err)
	}
}

func noSpan(error) {}

// accepting begins the span of a request, if there is a tracer, and returns the request with that.
func (h *Hub) accepting(r *http.Request, protocol string) (within *http.Request, end func(error)) {
	if h.up().Tracer == nil {
		return r, noSpan
	}
	ctx, end := h.begin(r.Context(), "wskit.accept", trace.WithAttributes(attribute.String("network.protocol.name", protocol)))
	return r.WithContext(ctx), end
}

// publishing publishes in a span, if there is a tracer.
func (a Audience) publishing(ctx context.Context, frame *actors.Frame, publish func() error) error {
	if a.hub.up().Tracer == nil {
		return publish()
	}
	_, end := a.hub.begin(ctx, "wskit.publish", trace.WithSpanKind(trace.SpanKindProducer), messaging("publish", frame.Len()))
	err := publish()
	end(err)
	return err
}

// traced is receive with a span for each message, if there is a tracer.
func (r *receiver) traced(receive func(binary bool, data []byte) error) func(binary bool, data []byte) error {
	if r.link.Tracer == nil {
		return receive
	}
	accepted := trace.Link{SpanContext: trace.SpanContextFromContext(r.values)}
	return func(binary bool, data []byte) error {
		of, err := r.context(), errUnreturned
		within, end := r.c.hub.begin(of, "wskit.handle", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithLinks(accepted), messaging("handle", len(data)))
		r.ctx = within
		defer func() {
			r.ctx = of
			end(err)
		}()
		err = receive(binary, data)
		return err
	}
}

var errUnreturned = errors.New("wskit: the handler has panicked")

func messaging(operation string, size int) trace.SpanStartEventOption {
	return trace.WithAttributes(attribute.String("messaging.system", "wskit"), attribute.String("messaging.operation.name", operation),
		attribute.Int("messaging.message.body.size", size))
}
