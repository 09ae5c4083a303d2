package pace_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/pace"
)

// trip is a RoundTripper made of a function.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, h http.Header) *http.Response {
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("body"))}
}

func request(t *testing.T, ctx context.Context, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://mail.test/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// closed tells whether a request's body was closed.
type closed struct {
	io.Reader
	yes bool
}

func (c *closed) Close() error { c.yes = true; return nil }

func TestLimitHoldsASlotUntilTheBodyIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		limit := pace.Limit(2, trip(func(*http.Request) (*http.Response, error) { sent++; return answer(200, nil), nil }))
		first, _ := limit.RoundTrip(request(t, t.Context(), ""))
		second, _ := limit.RoundTrip(request(t, t.Context(), ""))
		if b, err := io.ReadAll(first.Body); err != nil || string(b) != "body" {
			t.Fatalf("read %q, %v", b, err)
		}
		for range 2 {
			go limit.RoundTrip(request(t, t.Context(), ""))
		}
		synctest.Wait()
		if sent != 2 {
			t.Fatalf("%d requests went through while two bodies were open", sent-2)
		}
		first.Body.Close()
		first.Body.Close() // closing twice gives one slot back, not two
		synctest.Wait()
		if sent != 3 {
			t.Fatalf("%d requests went through after one body was closed", sent-2)
		}
		second.Body.Close()
		synctest.Wait()
		if sent != 4 {
			t.Fatalf("%d requests went through after both bodies were closed", sent-2)
		}
	})
}

func TestLimitGivesUpWithTheContext(t *testing.T) {
	t.Parallel()
	limit := pace.Limit(1, trip(func(*http.Request) (*http.Response, error) { return answer(200, nil), nil }))
	if _, err := limit.RoundTrip(request(t, t.Context(), "")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := request(t, ctx, "x")
	body := &closed{Reader: req.Body}
	req.Body = body
	if _, err := limit.RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	if !body.yes {
		t.Error("the request's body was left open")
	}
}

func TestLimitGivesTheSlotBackAfterAnError(t *testing.T) {
	t.Parallel()
	limit := pace.Limit(1, trip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }))
	for range 3 {
		if _, err := limit.RoundTrip(request(t, t.Context(), "")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestSlotsAreCountedOverAllTransports(t *testing.T) {
	t.Parallel()
	ok := trip(func(*http.Request) (*http.Response, error) { return answer(200, nil), nil })
	slots := pace.NewSlots(1)
	resp, err := slots.Limit(ok).RoundTrip(request(t, t.Context(), ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other := slots.Limit(ok)
	if _, err := other.RoundTrip(request(t, ctx, "")); !errors.Is(err, context.Canceled) {
		t.Fatalf("the second transport has its own slots: %v", err)
	}
	resp.Body.Close()
	if _, err := other.RoundTrip(request(t, t.Context(), "")); err != nil {
		t.Fatal(err)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		up       time.Duration
		patience time.Duration
		want     string // "passes", "waits" or "throttled"
	}{
		{"a fence that is down lets all pass", 0, time.Minute, "passes"},
		{"a fence that was up before lets all pass", -time.Second, 0, "passes"},
		{"a short fence is waited for", 10 * time.Second, time.Minute, "waits"},
		{"a fence as long as the patience is waited for", time.Minute, time.Minute, "waits"},
		{"a longer fence is an error at once", time.Minute + 1, time.Minute, "throttled"},
		{"no patience never waits", time.Millisecond, 0, "throttled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			clock, fence := clockwork.NewFakeClock(), &pace.Fence{}
			until := clock.Now().Add(test.up)
			if test.up != 0 {
				fence.Raise(until, "a test")
			}
			sent := make(chan time.Time, 1)
			gate := pace.Gate{Fence: fence, Patience: test.patience, Clock: clock, Next: trip(func(*http.Request) (*http.Response, error) {
				sent <- clock.Now()
				return answer(200, nil), nil
			})}
			done := make(chan error, 1)
			go func() {
				_, err := gate.RoundTrip(request(t, t.Context(), ""))
				done <- err
			}()
			if test.want == "waits" {
				if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				clock.Advance(test.up)
			}
			err := <-done
			var throttled *mailbox.Throttled
			if test.want == "throttled" {
				if !errors.As(err, &throttled) || !throttled.Until.Equal(until) || throttled.By != "a test" || len(sent) != 0 {
					t.Fatalf("got %v, %d sent; want throttled until %s and nothing sent", err, len(sent), until)
				}
				return
			}
			if err != nil || (<-sent).Before(until) {
				t.Fatalf("got %v, or sent too early", err)
			}
		})
	}
}

func TestGateSeesAFenceThatWasRaisedWhileItWaited(t *testing.T) {
	t.Parallel()
	clock, fence := clockwork.NewFakeClock(), &pace.Fence{}
	fence.Raise(clock.Now().Add(time.Second), "first")
	gate := pace.Gate{Fence: fence, Patience: time.Minute, Clock: clock, Next: trip(func(*http.Request) (*http.Response, error) {
		t.Error("sent while the fence was up")
		return answer(200, nil), nil
	})}
	done := make(chan error, 1)
	go func() {
		_, err := gate.RoundTrip(request(t, t.Context(), ""))
		done <- err
	}()
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	fence.Raise(clock.Now().Add(time.Hour), "second")
	clock.Advance(time.Second)
	var throttled *mailbox.Throttled
	if err := <-done; !errors.As(err, &throttled) || throttled.By != "second" {
		t.Fatalf("got %v, want throttled by the second fence", err)
	}
}

func TestGateStopsWaitingWithTheContext(t *testing.T) {
	t.Parallel()
	clock, fence := clockwork.NewFakeClock(), &pace.Fence{}
	fence.Raise(clock.Now().Add(time.Second), "a test")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := pace.Gate{Fence: fence, Patience: time.Minute, Clock: clock}.RoundTrip(request(t, ctx, ""))
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

func TestHeed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		after  string
		want   time.Duration
	}{
		{"429 raises the fence", 429, "2.5", 2500 * time.Millisecond},
		{"503 raises the fence", 503, "30", 30 * time.Second},
		{"503 without a time does not", 503, "", 0},
		{"200 does not", 200, "30", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			clock, fence := clockwork.NewFakeClock(), &pace.Fence{}
			heed := pace.Heed{Fence: fence, By: "a test", Clock: clock, Next: trip(func(*http.Request) (*http.Response, error) {
				return answer(test.status, http.Header{"Retry-After": {test.after}}), nil
			})}
			if resp, err := heed.RoundTrip(request(t, t.Context(), "")); err != nil || resp.StatusCode != test.status {
				t.Fatal("the answer was changed")
			}
			until, by := fence.Until()
			if test.want == 0 && !until.IsZero() {
				t.Fatalf("raised until %s", until)
			}
			if test.want != 0 && (!until.Equal(clock.Now().Add(test.want)) || by != "a test") {
				t.Fatalf("got %s by %q", until.Sub(clock.Now()), by)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, value, date string
		want              time.Duration
		ok                bool
	}{
		{name: "seconds", value: "120", want: 2 * time.Minute, ok: true},
		{name: "seconds with a fraction", value: "2.128", want: 2128 * time.Millisecond, ok: true},
		{name: "zero", value: "0", ok: true},
		{name: "white space", value: " 7 ", want: 7 * time.Second, ok: true},
		{name: "HTTP date", value: "Fri, 20 Nov 2026 12:05:00 GMT", want: 5 * time.Minute, ok: true},
		{name: "HTTP date by the other side's clock", value: "Fri, 20 Nov 2026 13:05:00 GMT",
			date: "Fri, 20 Nov 2026 13:00:00 GMT", want: 5 * time.Minute, ok: true},
		{name: "a date that is past means now", value: "Fri, 20 Nov 2026 11:00:00 GMT", ok: true},
		{name: "more than a day is a day", value: "1e300", want: 24 * time.Hour, ok: true},
		{name: "infinite is a day", value: "Inf", want: 24 * time.Hour, ok: true},
		{name: "absent"},
		{name: "negative", value: "-5"},
		{name: "not a number", value: "NaN"},
		{name: "words", value: "soon"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, ok := pace.RetryAfter(http.Header{"Retry-After": {test.value}, "Date": {test.date}}, now)
			if ok != test.ok || ok && !got.Equal(now.Add(test.want)) {
				t.Fatalf("got %s %v, want %s %v", got.Sub(now), ok, test.want, test.ok)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "2.128", "Fri, 20 Nov 2026 12:05:00 GMT", "-1", "1e9", "0x1p4", ""} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := pace.RetryAfter(http.Header{"Retry-After": {s}}, now)
		if ok && (got.Before(now) || got.After(now.Add(24*time.Hour))) {
			t.Fatalf("%q became %s", s, got)
		}
	})
}
