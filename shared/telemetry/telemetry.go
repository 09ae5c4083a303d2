package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"
)

// scope names the instrumentation.
const scope = "github.com/mailferry/mailferry"

// Telemetry makes spans and metrics. It is safe for concurrent use.
type Telemetry struct {
	clock  clockwork.Clock
	tracer trace.Tracer
	instruments
	close []func(context.Context) error
}

// None makes no spans and no metrics. Messages still carry their trace.
func None(clock clockwork.Clock) *Telemetry {
	t, err := assemble(clock, notrace.NewTracerProvider(), nometric.NewMeterProvider())
	if err != nil {
		panic(err) // instruments that do nothing are never refused
	}
	return t
}

// Options say where telemetry goes.
type Options struct {
	Endpoint string // base URL that takes OTLP over HTTP, /v1/traces and /v1/metrics below it; "" sends nothing
	Version  string // of Mailferry
	Clock    clockwork.Clock
	Log      *slog.Logger // of exports that fail
}

// Open prepares the export and sends nothing yet. What else the OpenTelemetry SDK can be told (headers, compression,
// sampling, intervals, temporality) it reads from its own OTEL_… settings.
func Open(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Endpoint == "" {
		return None(o.Clock), nil
	}
	// The SDK has one error handler for all, and writes to standard error without it, which the host takes for ours.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("telemetry not sent", "reason", bare(err).Error()) }))
	of := resource.WithAttributes(attribute.String("service.name", "mailferry"), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", uuid.NewString()))
	res, err := resource.New(ctx, of, resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	base := strings.TrimRight(o.Endpoint, "/")
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(base+"/v1/traces"))
	if err != nil {
		return nil, fmt.Errorf("prepare export of spans: %w", err)
	}
	metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(base+"/v1/metrics"))
	if err != nil {
		return nil, fmt.Errorf("prepare export of metrics: %w", err)
	}
	return New(o.Clock, sdktrace.NewBatchSpanProcessor(spans), sdkmetric.NewPeriodicReader(metrics), res)
}

// New gives spans to p and metrics to r. A nil res describes nothing.
func New(clock clockwork.Clock, p sdktrace.SpanProcessor, r sdkmetric.Reader, res *resource.Resource) (*Telemetry, error) {
	if res == nil {
		res = resource.Empty()
	}
	spans := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p), sdktrace.WithIDGenerator(ids{}), sdktrace.WithResource(res))
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r), sdkmetric.WithResource(res))
	t, err := assemble(clock, spans, metrics)
	if err != nil {
		return nil, err
	}
	t.close = []func(context.Context) error{spans.Shutdown, metrics.Shutdown}
	return t, nil
}

func assemble(clock clockwork.Clock, spans trace.TracerProvider, metrics metric.MeterProvider) (*Telemetry, error) {
	in, err := newInstruments(metrics.Meter(scope))
	if err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	return &Telemetry{clock: clock, tracer: spans.Tracer(scope), instruments: in}, nil
}

// Shutdown sends what is left, until ctx ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	failed := make(chan error, len(t.close))
	for _, f := range t.close { // at once, so that one that hangs leaves the other its time
		go func() { failed <- f(ctx) }()
	}
	var errs []error
	for range t.close {
		errs = append(errs, bare(<-failed))
	}
	return errors.Join(errs...)
}

// bare drops the URL that net/http puts around errors.
func bare(err error) error {
	for {
		u, ok := errors.AsType[*url.Error](err)
		if !ok {
			return err
		}
		err = u.Err
	}
}
