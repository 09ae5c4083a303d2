package pace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// drained bounds what is read from an answer that is thrown away, to keep its connection.
const drained = 64 << 10

// Retry is a RoundTripper that sends idempotent requests again after a transport error, 502, 503 or 504. It waits
// First, then twice as long each time, at most Longest, each less up to half at random; a Retry-After within
// Longest counts when it is longer. It gives the last answer or error as it is when the attempts are used up, when
// the Retry-After is longer than Longest, or when the body cannot be rewound (Request.GetBody is nil). It leaves
// 429 alone and never sends again after a *mailbox.Throttled or the end of the request's context.
//
// An answer whose body breaks off is not retried: by then the answer belongs to the caller.
type Retry struct {
	Attempts       int                      // in all, with the first; 0 means 4
	First, Longest time.Duration            // 0 means 500 ms and 15 s
	Idempotent     func(*http.Request) bool // nil means GET, HEAD and OPTIONS
	Clock          clockwork.Clock
	Next           http.RoundTripper
}

// RoundTrip sends the request until it is answered or the attempts are used up.
func (r Retry) RoundTrip(req *http.Request) (*http.Response, error) {
	for n := 1; ; n++ {
		resp, err := r.Next.RoundTrip(req)
		d, again := r.delay(n, resp, err)
		if !again || !r.repeatable(req) || req.Context().Err() != nil {
			return resp, err
		}
		next, rerr := rewound(req)
		if rerr != nil {
			return resp, err
		}
		discard(resp)
		if werr := wait(req.Context(), r.Clock, d); werr != nil {
			closeBody(next)
			return nil, fmt.Errorf("wait to try again: %w", werr)
		}
		req = next
	}
}

// delay says how long to wait after the n-th attempt, and whether there is to be another.
func (r Retry) delay(n int, resp *http.Response, err error) (time.Duration, bool) {
	longest := orDefault(r.Longest, 15*time.Second)
	d := min(orDefault(r.First, 500*time.Millisecond)<<min(n-1, 20), longest)
	d -= rand.N(d/2 + 1)
	if n >= orDefault(r.Attempts, 4) {
		return 0, false
	}
	if err != nil {
		return d, transient(err)
	}
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return 0, false
	}
	now := r.Clock.Now()
	if until, ok := RetryAfter(resp.Header, now); ok {
		d = max(d, until.Sub(now))
	}
	return d, d <= longest
}

func transient(err error) bool {
	var throttled *mailbox.Throttled
	return !errors.As(err, &throttled) && !errors.Is(err, context.Canceled)
}

func (r Retry) repeatable(req *http.Request) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	if r.Idempotent != nil {
		return r.Idempotent(req)
	}
	return req.Method == "" || req.Method == http.MethodGet || req.Method == http.MethodHead ||
		req.Method == http.MethodOptions
}

// rewound returns the request with its body at the beginning again.
func rewound(req *http.Request) (*http.Request, error) {
	next := req.Clone(req.Context())
	if req.GetBody == nil {
		return next, nil
	}
	body, err := req.GetBody()
	next.Body = body
	return next, err
}

func discard(resp *http.Response) {
	if resp == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, drained)
	_ = resp.Body.Close()
}

func orDefault[T ~int | ~int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
