package invoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/jonboulle/clockwork"
)

// Limits of one envelope in bytes. A message of the Standard tier has at most 256 KiB with its properties;
// base64 makes 4/3 of the body, properties and subject arrive twice, and JSON may escape a byte with six.
// An HTTP body arrives inside the envelope as one string.
const (
	maxEnvelope = 2 << 20
	maxRequest  = 32 << 20
)

// Mux is the http.Handler of a custom handler. Register every function before serving; registering a name
// or route twice panics, as http.ServeMux does.
//
// Paths are matched exactly and never redirected: the host follows a redirect as GET.
type Mux struct {
	log       *slog.Logger
	clock     clockwork.Clock
	functions map[string]http.HandlerFunc
	routes    []route
}

// New returns an empty Mux. Its log must write JSON lines to standard output: the host takes a line on
// standard error for an error, and discards the answer of a failure.
func New(log *slog.Logger, clock clockwork.Clock) *Mux {
	return &Mux{log: log, clock: clock, functions: map[string]http.HandlerFunc{}}
}

// Message registers do for a function with a serviceBusTrigger. A nil error completes the message, any
// other abandons it.
func (m *Mux) Message(function string, do func(ctx context.Context, m Message) error) {
	m.add(function, func(w http.ResponseWriter, r *http.Request) {
		m.invoke(w, r, &line{Function: function}, func(l *line) (any, error) {
			msg, err := readMessage(r, maxEnvelope)
			if err != nil {
				return nil, malformed(err)
			}
			msg.Function, msg.Trace = function, r.Header.Get("Traceparent")
			l.ID, l.Session, l.Delivery = msg.ID, msg.SessionID, msg.DeliveryCount
			return nil, do(r.Context(), msg)
		})
	})
}

// Tick registers do for a function with a timerTrigger.
func (m *Mux) Tick(function string, do func(ctx context.Context, t Tick) error) {
	m.add(function, func(w http.ResponseWriter, r *http.Request) {
		m.invoke(w, r, &line{Function: function}, func(*line) (any, error) {
			t, err := readTick(r, maxEnvelope)
			if err != nil {
				return nil, malformed(err)
			}
			return nil, do(r.Context(), t)
		})
	})
}

func (m *Mux) add(function string, h http.HandlerFunc) {
	if _, there := m.functions[function]; there || function == "" {
		panic("invoke: function registered twice or without a name: " + function)
	}
	m.functions[function] = h
}

// ServeHTTP answers GET / at once, which the host asks until the process is ready and then as a ping.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if path == "/" {
		only(w, r, func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, struct{}{})
		}, http.MethodGet, http.MethodHead)
		return
	}
	if do, ok := m.functions[path[min(1, len(path)):]]; ok {
		only(w, r, do, http.MethodPost)
		return
	}
	m.direct(w, r, path)
}

func only(w http.ResponseWriter, r *http.Request, h http.HandlerFunc, methods ...string) {
	for _, want := range methods {
		if r.Method == want {
			h(w, r)
			return
		}
		w.Header().Add("Allow", want)
	}
	writeError(w, http.StatusMethodNotAllowed, "method not allowed")
}

// line is what is logged about one invocation.
type line struct {
	Function, ID, Session string
	Delivery, Status      int
}

// errMalformed marks an envelope that cannot be read.
var errMalformed = errors.New("malformed envelope")

func malformed(err error) error { return fmt.Errorf("%w: %w", errMalformed, err) }

// invoke runs do, logs its outcome and answers. The answer of a success is what do returned, {} for nil.
func (m *Mux) invoke(w http.ResponseWriter, r *http.Request, l *line, do func(*line) (any, error)) {
	start := m.clock.Now()
	answer, err := recovered(l, do)
	m.report(r.Context(), l, m.clock.Since(start), err)
	if err != nil {
		writeError(w, http.StatusInternalServerError, err.Error())
		return
	}
	if answer == nil {
		answer = struct{}{} // an empty body or null would never end the invocation
	}
	writeJSON(w, http.StatusOK, answer)
}

// panicked is the error of an invocation that panicked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return "panic in function" }

func recovered(l *line, do func(*line) (any, error)) (answer any, err error) {
	defer func() {
		if v := recover(); v != nil {
			answer, err = nil, &panicked{v, debug.Stack()}
		}
	}()
	return do(l)
}

func (m *Mux) report(ctx context.Context, l *line, took time.Duration, err error) {
	a := []slog.Attr{slog.String("function", l.Function)}
	if l.ID != "" || l.Delivery != 0 {
		a = append(a, slog.String("id", l.ID), slog.String("session", l.Session), slog.Int("delivery", l.Delivery))
	}
	if l.Status != 0 {
		a = append(a, slog.Int("status", l.Status))
	}
	a = append(a, slog.Float64("seconds", took.Seconds()))
	level, outcome := slog.LevelInfo, "ok"
	var p *panicked
	switch {
	case errors.As(err, &p):
		level, outcome = slog.LevelError, "panic"
		a = append(a, slog.String("error", fmt.Sprint(p.value)), slog.String("stack", string(p.stack)))
	case err != nil:
		level, outcome = slog.LevelError, "failed"
		if errors.Is(err, errMalformed) {
			outcome = "malformed"
		}
		a = append(a, slog.String("error", err.Error()))
	}
	m.log.LogAttrs(ctx, level, "invocation", append(a, slog.String("outcome", outcome))...)
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, struct {
		Error string `json:"error"`
	}{text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // only strings, numbers and maps of strings come here
		status, b = http.StatusInternalServerError, []byte(`{"error":"encode answer"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a host that went away has failed the invocation already
}

// readAll reads a body of at most limit bytes.
func readAll(r *http.Request, limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return nil, fmt.Errorf("body is longer than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return b, nil
}
