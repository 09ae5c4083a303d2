package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/migration"
)

// root is the span context of a mailbox's root span. Each time a person takes the mailbox back into work, its epoch is
// another, and so is the root span; the trace stays the same.
func root(w migration.WaveID, m migration.MailboxID, epoch int) trace.SpanContext {
	of := sha256.Sum256([]byte("mailferry trace\x00" + string(w) + "\x00" + string(m)))
	span := sha256.Sum256(append(of[:], "\x00"+strconv.Itoa(epoch)...))
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(of[:16]), SpanID: trace.SpanID(span[:8]),
		TraceFlags: trace.FlagsSampled, Remote: true})
}

// Bus gives every letter the trace it belongs to before next sends it.
func Bus(next bus.Bus) bus.Bus { return tracing{next} }

type tracing struct{ next bus.Bus }

func (b tracing) Send(ctx context.Context, letters ...bus.Letter) error {
	letters = slices.Clone(letters)
	for i, l := range letters {
		letters[i].Trace = traceOf(ctx, l.Message)
	}
	return b.next.Send(ctx, letters...)
}

// traceOf is the trace of a message: below the span that sends it when that is of the mailbox, else below the mailbox's
// root, with the sending span in the state.
func traceOf(ctx context.Context, m migration.Message) bus.Trace {
	sender, sc := trace.SpanContextFromContext(ctx), root(m.Wave, m.Mailbox, m.Epoch)
	switch {
	case sender.TraceID() == sc.TraceID():
		sc = sender
	case sender.IsValid():
		sc = sc.WithTraceState(stateFrom(sender))
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(ctx, sc), carrier)
	return bus.Trace{Parent: carrier["traceparent"], State: carrier["tracestate"]}
}

// stateKey is ours among the vendors of a tracestate.
const stateKey = "mailferry"

// stateFrom names the span that began a mailbox's work.
func stateFrom(began trace.SpanContext) trace.TraceState {
	s, err := trace.TraceState{}.Insert(stateKey, began.TraceID().String()+"-"+began.SpanID().String())
	if err != nil { // two hexadecimal numbers are always a value
		return trace.TraceState{}
	}
	return s
}

// beganBy reads what stateFrom wrote; the zero SpanContext is not valid.
func beganBy(s trace.TraceState) trace.SpanContext {
	t, span, _ := strings.Cut(s.Get(stateKey), "-")
	traceID, err := trace.TraceIDFromHex(t)
	if err != nil {
		return trace.SpanContext{}
	}
	spanID, err := trace.SpanIDFromHex(span)
	if err != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true})
}

// Host reads the trace context of the host's request, for the spans of what the request asks for.
func Host(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// arrival is how a message came.
type arrival struct {
	parent   trace.SpanContext
	enqueued time.Time
}

type arrivalKey struct{}

// Arrived remembers how a message came, for [Telemetry.Begin]: its properties, and when it was due.
func Arrived(ctx context.Context, properties map[string]any, enqueued time.Time) context.Context {
	carrier := propagation.MapCarrier{}
	for _, k := range []string{"traceparent", "tracestate"} {
		if s, ok := properties[k].(string); ok {
			carrier[k] = s
		}
	}
	sc := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
	return context.WithValue(ctx, arrivalKey{}, arrival{sc, enqueued})
}

func arrivalOf(ctx context.Context) arrival {
	a, _ := ctx.Value(arrivalKey{}).(arrival)
	return a
}

// parentOf is the span that sent a message, if it is of the mailbox's trace; else the mailbox's root.
func parentOf(a arrival, m migration.Message) trace.SpanContext {
	if of := root(m.Wave, m.Mailbox, m.Epoch); a.parent.TraceID() != of.TraceID() {
		return of
	}
	return a.parent
}

// ids makes random IDs, except for a mailbox's root span, whose IDs the messages know already.
type ids struct{}

type rootKey struct{}

func (i ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if sc, ok := ctx.Value(rootKey{}).(trace.SpanContext); ok {
		return sc.TraceID(), sc.SpanID()
	}
	var t trace.TraceID
	binary.NativeEndian.PutUint64(t[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(t[8:], rand.Uint64()|1<<63) // never zero
	return t, i.NewSpanID(ctx, t)
}

func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var s trace.SpanID
	binary.NativeEndian.PutUint64(s[:], max(rand.Uint64(), 1))
	return s
}
