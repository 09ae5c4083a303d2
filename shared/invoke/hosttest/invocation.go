package hosttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// hostVersion is what the host says of itself; 4.1037 is the version its behaviour here was read from.
const hostVersion = "4.1037.0.0"

// maxAnswer bounds the answer of a handler that the host reads whole.
const maxAnswer = 256 << 20

// invocation is one call of a function.
type invocation struct {
	f       *function
	id      string
	reason  string
	details string // logged beside the start
	trace   string // parent traceparent, may be empty
}

// outcome is what a handler answered.
type outcome struct {
	Outputs     map[string]json.RawMessage
	Logs        []any
	ReturnValue json.RawMessage
}

var errTimeout = errors.New("Timeout value exceeded") //nolint:staticcheck // the host's words

// run wraps one call of a function in its log lines, its timeout and the faults asked for. A handler that
// exceeds the timeout is killed, with everything else it was doing.
func (w *worker) run(ctx context.Context, inv invocation, call func(ctx context.Context, p *process, inv invocation) error) error {
	h := w.host
	inv.id = uuid.NewString()
	category := "Function." + inv.f.name
	if inv.reason == "" {
		inv.reason = "(null)"
	}
	h.note(slog.LevelInfo, category, fmt.Sprintf("Executing 'Functions.%s' (Reason='%s', Id=%s)", inv.f.name, inv.reason, inv.id))
	if inv.details != "" {
		h.note(slog.LevelInfo, category, "Trigger Details: "+inv.details)
	}
	h.calls.Add(1)
	defer h.calls.Add(-1)
	start := h.clock.Now()
	err := w.bounded(ctx, inv, call)
	ms := h.clock.Since(start).Milliseconds()
	if err != nil {
		h.note(slog.LevelError, category, fmt.Sprintf("Executed 'Functions.%s' (Failed, Id=%s, Duration=%dms)", inv.f.name, inv.id, ms), slog.Any("error", err))
		return err
	}
	h.note(slog.LevelInfo, category, fmt.Sprintf("Executed 'Functions.%s' (Succeeded, Id=%s, Duration=%dms)", inv.f.name, inv.id, ms))
	return nil
}

func (w *worker) bounded(ctx context.Context, inv invocation, call func(context.Context, *process, invocation) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var used atomic.Pointer[process]
	var expired atomic.Bool
	if limit := w.host.options.timeout; limit >= 0 {
		t := w.host.clock.AfterFunc(limit, func() {
			expired.Store(true)
			w.expire(inv, used.Load()) // no cancellation reaches the handler before it is killed
			cancel()
		})
		defer t.Stop()
	}
	p, err := w.await(ctx)
	if err == nil {
		used.Store(p)
		ctx, killed := w.host.inject(ctx, inv.f, w)
		err = call(ctx, p, inv)
		killed(err)
		if broken(err) {
			w.notice(p)
		}
	}
	if err != nil && expired.Load() {
		return errTimeout
	}
	return err
}

// broken says that a call failed below HTTP.
func broken(err error) bool {
	var u *url.Error
	return errors.As(err, &u) || errors.Is(err, io.ErrUnexpectedEOF)
}

// expire replaces the process of an invocation that has run too long.
func (w *worker) expire(inv invocation, p *process) {
	w.host.note(slog.LevelError, "Function."+inv.f.name, fmt.Sprintf("Timeout value of %s exceeded by function 'Functions.%s' (Id: '%s'). Initiating cancellation.", timeSpan(w.host.options.timeout), inv.f.name, inv.id))
	if p != nil {
		w.host.note(slog.LevelWarn, "Host.Startup", fmt.Sprintf("A function timeout has occurred. Restarting worker process executing invocationId '%s'.", inv.id))
		w.restart(p)
	}
}

// post sends an envelope and returns what the handler answered.
func (w *worker) post(ctx context.Context, inv invocation, e envelope) (outcome, error) {
	r, err := w.request(ctx, inv, e)
	if err != nil {
		return outcome{}, err
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return outcome{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return outcome{}, fmt.Errorf("Response status code does not indicate success: %d (%s).", resp.StatusCode, http.StatusText(resp.StatusCode)) //nolint:staticcheck // the host's words
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return outcome{}, err
	}
	out, err := readOutcome(resp.Header.Get("Content-Type"), b)
	if errors.Is(err, errNothing) {
		<-ctx.Done() // the host waits for a result that nobody sets
		return outcome{}, ctx.Err()
	}
	if err != nil {
		return outcome{}, err
	}
	for _, line := range out.Logs {
		w.host.note(slog.LevelInfo, "Function."+inv.f.name+".User", fmt.Sprint(line))
	}
	return out, nil
}

// request is the invocation as it goes over the wire: chunked, to the exact name of the function.
func (w *worker) request(ctx context.Context, inv invocation, e envelope) (*http.Request, error) {
	body := []byte(encode(e))
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	rc, _ := open()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url("/"+inv.f.name), rc)
	if err != nil {
		return nil, err
	}
	r.GetBody, r.ContentLength = open, -1
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	w.host.mark(r, inv)
	return r, nil
}

// mark adds the headers that every request to a handler has.
func (h *Host) mark(r *http.Request, inv invocation) {
	r.Header.Set("X-Azure-Functions-InvocationId", inv.id)
	r.Header.Set("X-Azure-Functions-HostVersion", hostVersion)
	r.Header.Set("User-Agent", "Azure-Functions-Host/"+hostVersion)
	if h.options.traced {
		r.Header.Set("Traceparent", traceparent(inv.trace))
	}
}

// traceparent continues the trace of parent, or starts one.
func traceparent(parent string) string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	trace := hex.EncodeToString(b[:16])
	if parts := strings.Split(parent, "-"); len(parts) == 4 && len(parts[1]) == 32 {
		trace = parts[1]
	}
	return "00-" + trace + "-" + hex.EncodeToString(b[16:]) + "-01"
}

var errNothing = errors.New("answer is empty or null")

// readOutcome reads a successful answer. Nothing, or null, is errNothing: the host never learns that the
// function has ended.
func readOutcome(contentType string, b []byte) (outcome, error) {
	var out outcome
	body := strings.TrimSpace(string(b))
	if body == "" {
		return out, errNothing
	}
	t, _, _ := mime.ParseMediaType(contentType)
	if t != "application/json" && t != "text/json" {
		return out, fmt.Errorf("Invalid HttpResponseMessage: no MediaTypeFormatter is available to read content of media type '%s'", t) //nolint:staticcheck // the host's words
	}
	if body == "null" {
		return out, errNothing
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		return out, fmt.Errorf("Invalid HttpResponseMessage: %w", err) //nolint:staticcheck // the host's words
	}
	return out, nil
}

// invoke posts an envelope to a function and returns its answer.
func (w *worker) invoke(ctx context.Context, inv invocation, e envelope) (out outcome, err error) {
	err = w.run(ctx, inv, func(ctx context.Context, _ *process, inv invocation) error {
		out, err = w.post(ctx, inv, e)
		return err
	})
	return out, err
}

// machineTimeout bounds calls over the network that concern nobody's clock but this machine's.
func machineTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
