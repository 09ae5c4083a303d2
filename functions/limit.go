package main

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/jonboulle/clockwork"
	"golang.org/x/time/rate"

	"github.com/mailferry/mailferry/shared/telemetry"
)

// Limits of one process. Every instance has its own, so that all together take as many times more as there are: enough
// for people and their scripts, and too little to keep the ledger from the pipeline.
const (
	perSecond, burst               = 20, 40
	submitsPerSecond, submitsBurst = 1, 5
)

// maxIgnored is how long a body may be that nobody reads.
const maxIgnored = 64 << 10

// gate stands before every HTTP function: body, sign-in, rate.
type gate struct {
	entra     bool // sign-in by Entra ID; else the host checks function keys
	clock     clockwork.Clock
	log       *slog.Logger
	telemetry *telemetry.Telemetry
	requests  *rate.Limiter
	submits   *rate.Limiter
}

func newGate(entra bool, clock clockwork.Clock, log *slog.Logger, t *telemetry.Telemetry) *gate {
	return &gate{entra, clock, log, t, rate.NewLimiter(perSecond, burst), rate.NewLimiter(submitsPerSecond, submitsBurst)}
}

// reads lets readers and operators pass.
func (g *gate) reads(h http.Handler) http.Handler {
	return g.pass(roleReader, g.requests, bounded(h))
}

// steers lets operators pass.
func (g *gate) steers(h http.Handler) http.Handler {
	return g.pass(roleOperator, g.requests, bounded(g.traced("steer", h)))
}

// submit lets operators pass, who send more than others and less often. The body's limit is the submission's.
func (g *gate) submit(h http.Handler) http.Handler {
	return g.pass(roleOperator, g.submits, g.traced("submit", h))
}

func (g *gate) pass(role string, l *rate.Limiter, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.signedIn(w, r, role) && g.soon(w, l) {
			h.ServeHTTP(w, r)
		}
	})
}

// soon answers 429 itself when there were too many requests, and says whether this one may go on.
func (g *gate) soon(w http.ResponseWriter, l *rate.Limiter) bool {
	now := g.clock.Now()
	slot := l.ReserveN(now, 1)
	wait := slot.DelayFrom(now)
	if wait == 0 {
		return true
	}
	slot.CancelAt(now)
	g.log.Warn("refused", "status", http.StatusTooManyRequests, "reason", "too many requests")
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	answer(w, http.StatusTooManyRequests, failure{Error: "too many requests; wait as long as Retry-After says and send it again"})
	return false
}

// bounded refuses a long body where none is wanted.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxIgnored {
			answer(w, http.StatusRequestEntityTooLarge, failure{Error: "this request takes no body; send none"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxIgnored)
		h.ServeHTTP(w, r)
	})
}

// traced makes a span of the request: the messages it sends name it.
func (g *gate) traced(name string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = g.telemetry.Span(r.Context(), name, func(ctx context.Context) error {
			h.ServeHTTP(w, r.WithContext(ctx))
			return nil
		})
	})
}
