// Package pace holds back requests: a fence that a Retry-After raises for all callers, a limit on requests under way,
// and a retry. They are http.RoundTrippers, so that clients obey them without knowing. Outermost first, a client has
//
//	Retry, Limit, Gate, Heed, http.Transport
//
// so that a request that has waited for its slot still sees the fence, and a retry gives its slot back meanwhile.
package pace

import (
	"sync"
	"time"
)

// Fence is a moment before which nobody calls. The zero Fence is down. It is safe for concurrent use and shared
// by all clients that the limit behind it counts together.
type Fence struct {
	mu    sync.Mutex
	until time.Time
	by    string
}

// Raise keeps callers back until t; a fence that is already higher stays. by says who asked, without an address.
func (f *Fence) Raise(t time.Time, by string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.After(f.until) {
		f.until, f.by = t, by
	}
}

// Until returns when the fence comes down, which may be in the past, and who raised it last.
func (f *Fence) Until() (time.Time, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.until, f.by
}
