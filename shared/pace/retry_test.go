package pace_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/pace"
)

func always(*http.Request) bool { return true }

// script answers with one step after another and records the bodies it was sent.
type script struct {
	steps  []func() (*http.Response, error)
	bodies []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	b, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	s.bodies = append(s.bodies, string(b))
	return s.steps[len(s.bodies)-1]()
}

func status(n int, after ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return answer(n, http.Header{"Retry-After": after}), nil }
}

func fails(err error) func() (*http.Response, error) {
	return func() (*http.Response, error) { return nil, err }
}

func TestRetry(t *testing.T) {
	t.Parallel()
	type steps = []func() (*http.Response, error)
	throttled := &mailbox.Throttled{By: "a test"}
	for _, test := range []struct {
		name  string
		steps steps
		want  int // status, 0 for an error
		sent  int
	}{
		{"success is the end", steps{status(200)}, 200, 1},
		{"a lost connection is tried again", steps{fails(io.ErrUnexpectedEOF), status(200)}, 200, 2},
		{"bad gateway, unavailable and gateway timeout are tried again", steps{status(502), status(503), status(504), status(200)}, 200, 4},
		{"the last answer is given as it is", steps{status(502), status(502), status(502), status(503)}, 503, 4},
		{"the last error is given as it is", steps{fails(io.EOF), fails(io.EOF), fails(io.EOF), fails(io.EOF)}, 0, 4},
		{"500 is an answer", steps{status(500)}, 500, 1},
		{"429 is the fence's", steps{status(429, "1")}, 429, 1},
		{"a short Retry-After is waited for", steps{status(503, "12"), status(200)}, 200, 2},
		{"a long Retry-After is the fence's", steps{status(503, "16")}, 503, 1},
		{"throttled is not tried again", steps{fails(throttled)}, 0, 1},
		{"cancelled is not tried again", steps{fails(context.Canceled)}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			clock, s := clockwork.NewFakeClock(), &script{steps: test.steps}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for clock.BlockUntilContext(ctx, 1) == nil {
					clock.Advance(time.Second)
				}
			}()
			resp, err := pace.Retry{Clock: clock, Idempotent: always, Next: s}.RoundTrip(request(t, ctx, "hello"))
			if test.want == 0 && err == nil || test.want != 0 && (err != nil || resp.StatusCode != test.want) {
				t.Fatalf("got %v, %v; want status %d", resp, err, test.want)
			}
			if len(s.bodies) != test.sent {
				t.Fatalf("sent %d times, want %d", len(s.bodies), test.sent)
			}
			for i, b := range s.bodies {
				if b != "hello" {
					t.Errorf("attempt %d sent body %q", i+1, b)
				}
			}
		})
	}
}

func TestRetryWaitsLongerEachTime(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	var at []time.Time
	retry := pace.Retry{Attempts: 5, First: 8 * time.Second, Longest: 20 * time.Second, Idempotent: always, Clock: clock,
		Next: trip(func(*http.Request) (*http.Response, error) { at = append(at, clock.Now()); return nil, io.EOF })}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for clock.BlockUntilContext(ctx, 1) == nil {
			clock.Advance(10 * time.Millisecond)
		}
	}()
	if _, err := retry.RoundTrip(request(t, ctx, "")); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	want := []time.Duration{8 * time.Second, 16 * time.Second, 20 * time.Second, 20 * time.Second}
	for i, most := range want {
		if d := at[i+1].Sub(at[i]); d < most/2 || d > most+10*time.Millisecond {
			t.Errorf("wait %d took %s, want between %s and %s", i+1, d, most/2, most)
		}
	}
}

func TestRetryLeavesWhatItMustNotRepeat(t *testing.T) {
	t.Parallel()
	unwindable := request(t, t.Context(), "hello")
	unwindable.GetBody = nil
	for _, test := range []struct {
		name string
		req  *http.Request
		idem func(*http.Request) bool
	}{
		{"a POST that nobody called idempotent", request(t, t.Context(), "hello"), nil},
		{"a body that cannot be rewound", unwindable, always},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &script{steps: []func() (*http.Response, error){status(503)}}
			resp, err := pace.Retry{Clock: clockwork.NewFakeClock(), Idempotent: test.idem, Next: s}.RoundTrip(test.req)
			if err != nil || resp.StatusCode != 503 || len(s.bodies) != 1 {
				t.Fatalf("got %v, %v after %d attempts", resp, err, len(s.bodies))
			}
			if b, _ := io.ReadAll(resp.Body); string(b) != "body" {
				t.Errorf("the answer's body was used up: %q", b)
			}
		})
	}
}

func TestRetryStopsWaitingWithTheContext(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		s := &script{steps: []func() (*http.Response, error){status(503)}}
		_, err := pace.Retry{Clock: clock, Idempotent: always, Next: s}.RoundTrip(request(t, ctx, ""))
		done <- err
	}()
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
