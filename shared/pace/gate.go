package pace

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// Gate is a RoundTripper that obeys a fence. A request waits while the fence is up, when it comes down within
// Patience; else nothing is sent and the error is a *mailbox.Throttled with the fence's time and name. Patience 0
// never waits. Gate does not raise the fence; see [Heed].
//
// http.Client wraps the error in a *url.Error, which prints the URL; errors.As finds the Throttled within.
type Gate struct {
	Fence    *Fence
	Patience time.Duration
	Clock    clockwork.Clock
	Next     http.RoundTripper
}

// RoundTrip waits for the fence and passes the request on.
func (g Gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.pass(req.Context()); err != nil {
		closeBody(req)
		return nil, err
	}
	return g.Next.RoundTrip(req)
}

// pass looks again after waiting, because the fence may have been raised meanwhile. All waits together stay
// within Patience.
func (g Gate) pass(ctx context.Context) error {
	last := g.Clock.Now().Add(g.Patience)
	for {
		until, by := g.Fence.Until()
		left := until.Sub(g.Clock.Now())
		if left <= 0 {
			return nil
		}
		if until.After(last) {
			return &mailbox.Throttled{Until: until, By: by}
		}
		if err := wait(ctx, g.Clock, left); err != nil {
			return fmt.Errorf("wait for the fence: %w", err)
		}
	}
}

// Heed is a RoundTripper that raises Fence, in the name of By, when the answer is a 429 or 503 with Retry-After.
// It changes no answer and never waits.
type Heed struct {
	Fence *Fence
	By    string // as in mailbox.Throttled: never an address
	Clock clockwork.Clock
	Next  http.RoundTripper
}

// RoundTrip passes the request on and reads the answer's Retry-After.
func (h Heed) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.Next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		if until, ok := RetryAfter(resp.Header, h.Clock.Now()); ok {
			h.Fence.Raise(until, h.By)
		}
	}
	return resp, nil
}

func wait(ctx context.Context, clock clockwork.Clock, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.Chan():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
