package hosttest

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"slices"
	"sync"
)

// Fault is something that goes wrong on purpose, once, in the n-th invocation of a function from now.
type Fault struct {
	Function string
	On       int  // counts from 1
	Kill     bool // SIGKILL to the function's process while the invocation is under way
	Twice    bool // the completion of the message is lost: it is abandoned and delivered again
}

// faults counts the invocations of one function.
type faults struct {
	mu      sync.Mutex
	count   int
	pending []Fault
}

// Inject arranges for f to happen.
func (h *Host) Inject(f Fault) error {
	fn := h.function(f.Function)
	if fn == nil {
		return fmt.Errorf("inject fault: no function %s", f.Function)
	}
	fn.counts.mu.Lock()
	defer fn.counts.mu.Unlock()
	f.On += fn.counts.count
	fn.counts.pending = append(fn.counts.pending, f)
	return nil
}

// take removes the first fault that is due and of the kind asked for, and says whether there was one.
func (c *faults) take(kind func(Fault) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.pending, func(f Fault) bool { return f.On <= c.count && kind(f) })
	if i < 0 {
		return false
	}
	c.pending = slices.Delete(c.pending, i, i+1)
	return true
}

// inject counts an invocation of f on w. When a kill is due, the returned context makes it happen as soon as
// the request has been written to the handler; the returned func then waits for it when the call failed.
func (h *Host) inject(ctx context.Context, f *function, w *worker) (context.Context, func(error)) {
	f.counts.mu.Lock()
	f.counts.count++
	f.counts.mu.Unlock()
	if !f.counts.take(func(f Fault) bool { return f.Kill }) {
		return ctx, func(error) {}
	}
	killed := make(chan struct{})
	var once sync.Once
	kill := func() {
		once.Do(func() {
			w.kill()
			close(killed)
		})
	}
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { go kill() }}
	return httptrace.WithClientTrace(ctx, trace), func(err error) {
		if err != nil {
			kill()
			<-killed
		}
	}
}
