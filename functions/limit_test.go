package main

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestTooManyRequestsAreToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path string
		burst, perSecond   int
	}{
		{"reads", http.MethodGet, "/api/about", burst, perSecond},
		{"submissions", http.MethodPost, "/api/batches", submitsBurst, submitsPerSecond},
		{"steering", http.MethodPost, "/api/waves/w1/pause", burst, perSecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, false, nil)
			passed := func() int {
				for n := 0; ; n++ {
					w := a.call(t, tt.method, tt.path, "", "")
					if w.Code != http.StatusTooManyRequests {
						continue
					}
					if s, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || s != 1 {
						t.Errorf("Retry-After %q, want 1", w.Header().Get("Retry-After"))
					}
					return n
				}
			}
			if n := passed(); n != tt.burst {
				t.Errorf("%d requests passed at once, want %d", n, tt.burst)
			}
			if n := passed(); n != 0 {
				t.Errorf("%d requests passed after that, want 0: a refused one must not cost a place", n)
			}
			a.clock.Advance(time.Second)
			if n := passed(); n != tt.perSecond {
				t.Errorf("%d requests passed a second later, want %d", n, tt.perSecond)
			}
		})
	}
}

func TestSubmissionsDoNotKeepReadersAway(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	for range 2 * submitsBurst {
		a.call(t, http.MethodPost, "/api/batches", "", "")
	}
	if w := a.call(t, http.MethodGet, "/api/about", "", ""); w.Code != http.StatusOK {
		t.Errorf("answers %d", w.Code)
	}
}

func TestEveryBodyHasALimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path, kind string
		size                     int
		want                     int
	}{
		{"steering with a short body", http.MethodPost, "/api/waves/w1/pause", "", maxIgnored, 404},
		{"steering with a long body", http.MethodPost, "/api/waves/w1/pause", "", maxIgnored + 1, 413},
		{"mailbox with a long body", http.MethodPost, "/api/waves/w1/mailboxes/m1/retry", "", maxIgnored + 1, 413},
		{"reading with a long body", http.MethodGet, "/api/about", "", maxIgnored + 1, 413},
		{"wave with a long body", http.MethodGet, "/api/waves/w1", "", maxIgnored + 1, 413},
		{"receipt with a long body", http.MethodGet, "/api/waves/w1/mailboxes/m1/receipt", "", maxIgnored + 1, 413},
		{"CSV that is too long", http.MethodPost, "/api/batches", "text/csv", maxBatch + 1, 413},
		{"JSON that is too long", http.MethodPost, "/api/batches", "application/json", maxBatch + 1, 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, false, nil)
			body := strings.Repeat("a", tt.size)
			switch tt.kind {
			case "text/csv":
				body = "source,target\n" + strings.Repeat("\n", tt.size)
			case "application/json":
				body = strings.Repeat(" ", tt.size)
			}
			if w := a.call(t, tt.method, tt.path, tt.kind, body); w.Code != tt.want {
				t.Errorf("answers %d, want %d: %s", w.Code, tt.want, w.Body)
			}
		})
	}
}
