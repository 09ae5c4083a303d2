package telemetry

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// instruments are the metrics.
type instruments struct {
	items, bytes metric.Int64Counter
	deliveries   metric.Int64Counter
	seconds      metric.Float64Histogram
	waited       metric.Float64Histogram
	requests     metric.Int64Counter
	throttled    metric.Float64Counter
	mailboxes    metric.Int64Counter
}

func newInstruments(m metric.Meter) (instruments, error) {
	var in instruments
	var errs [8]error
	what := metric.WithDescription
	in.items, errs[0] = m.Int64Counter("mailferry.items", metric.WithUnit("{item}"), what("Items that targets took."))
	in.bytes, errs[1] = m.Int64Counter("mailferry.bytes", metric.WithUnit("By"), what("Bytes of the items that targets took."))
	in.deliveries, errs[2] = m.Int64Counter("mailferry.deliveries", metric.WithUnit("{delivery}"), what("Messages worked on, by queue and outcome."))
	in.seconds, errs[3] = m.Float64Histogram("mailferry.delivery.duration", metric.WithUnit("s"), what("How long one was worked on."),
		metric.WithExplicitBucketBoundaries(.1, .5, 1, 5, 15, 60, 180, 300, 600, 900, 1500))
	in.waited, errs[4] = m.Float64Histogram("mailferry.delivery.wait", metric.WithUnit("s"), what("How long one waited after it was due."),
		metric.WithExplicitBucketBoundaries(1, 5, 15, 60, 300, 900, 3600, 4*3600, 12*3600, 24*3600))
	in.requests, errs[5] = m.Int64Counter("mailferry.requests", metric.WithUnit("{request}"), what("HTTP requests, by side."))
	in.throttled, errs[6] = m.Float64Counter("mailferry.throttled", metric.WithUnit("s"), what("Seconds in which a side wanted no requests, per delivery that was told, by side."))
	in.mailboxes, errs[7] = m.Int64Counter("mailferry.mailboxes", metric.WithUnit("{mailbox}"), what("Mailboxes that came to an end, by state."))
	return in, errors.Join(errs[:]...)
}
