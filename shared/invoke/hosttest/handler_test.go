package hosttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/invoke"
)

// The handler of these tests is the test binary itself, run again by the host with this variable set. It does
// nothing by itself: it tells the test what it was asked, and does what the test answers.
const directorSetting = "HOSTTEST_DIRECTOR"

func TestMain(m *testing.M) {
	switch director := os.Getenv(directorSetting); {
	case director == "none":
		os.Exit(server())
	case director != "":
		os.Exit(actor(director))
	}
	os.Exit(m.Run())
}

// cue is what the handler tells: that it starts (Method ""), or a request it got.
type cue struct {
	PID      int
	Method   string
	Path     string
	Header   http.Header
	Encoding []string // Transfer-Encoding
	Length   int64    // Content-Length, -1 when not known
	Body     string
	Env      []string
	Args     []string
	Dir      string
}

// act is what the handler does.
type act struct {
	Exit   int // exit with this code, when Leave
	Leave  bool
	Deaf   bool // start without listening
	Status int
	Header map[string]string
	Body   string
	Break  bool // close the connection in the middle of the answer
	Stdout string
	Stderr string
}

func ok() act {
	return act{Status: 200, Header: map[string]string{"Content-Type": "application/json"}, Body: "{}"}
}

func actor(director string) int {
	ask := func(c cue) act {
		c.PID = os.Getpid()
		b, _ := json.Marshal(c)
		r, err := http.Post(director, "application/json", bytes.NewReader(b))
		if err != nil {
			return act{Status: 500}
		}
		defer r.Body.Close()
		var a act
		_ = json.NewDecoder(r.Body).Decode(&a)
		if a.Stdout != "" {
			fmt.Println(a.Stdout)
		}
		if a.Stderr != "" {
			fmt.Fprintln(os.Stderr, a.Stderr)
		}
		if a.Leave {
			os.Exit(a.Exit)
		}
		return a
	}
	dir, _ := os.Getwd()
	if a := ask(cue{Env: os.Environ(), Args: os.Args[1:], Dir: dir}); a.Deaf {
		select {}
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.WriteHeader(http.StatusNotFound) // any answer is ready
			return
		}
		b, _ := io.ReadAll(r.Body)
		a := ask(cue{Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header, Encoding: r.TransferEncoding, Length: r.ContentLength, Body: string(b)})
		for k, v := range a.Header {
			w.Header().Set(k, v)
		}
		if len(a.Header) == 0 {
			w.Header()["Content-Type"] = nil
		}
		w.WriteHeader(a.Status)
		_, _ = io.WriteString(w, a.Body)
		if a.Break {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"), http.HandlerFunc(serve)); err != nil {
		fmt.Println(err)
	}
	return 1
}

// server is a handler as it is deployed: a mux of package invoke, served until SIGTERM. A message that says
// crash or panic does so.
func server() int {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	m := invoke.New(log, clockwork.NewRealClock())
	m.Message("copyshard", func(_ context.Context, m invoke.Message) error {
		switch string(m.Body) {
		case "crash":
			if m.DeliveryCount == 1 {
				os.Exit(3)
			}
		case "panic":
			if m.DeliveryCount == 1 {
				panic("as told")
			}
		}
		return nil
	})
	m.Tick("wake", func(context.Context, invoke.Tick) error { return nil })
	m.Request("status", "waves/{wave}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"wave":%q,"method":%q}`, r.PathValue("wave"), r.Method)
	}))
	if err := invoke.Serve(ctx, os.Getenv(invoke.PortSetting), m, log); err != nil {
		log.Error("serve", "error", err)
		return 1
	}
	return invoke.Restart
}

// stage is a package on disk and the test that directs its handler.
type stage struct {
	t    *testing.T
	root string
	env  map[string]string
	play func(ctx context.Context, c cue) act
	log  *logBook

	mu   sync.Mutex
	cues []cue
}

// newStage makes a package with a host.json and one folder per function. play directs the handler; its ctx
// ends with the handler's request.
func newStage(t *testing.T, hostJSON string, functions map[string]string, play func(ctx context.Context, c cue) act) *stage {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, root: t.TempDir(), play: play, log: &logBook{}}
	write(t, filepath.Join(s.root, "host.json"), strings.ReplaceAll(hostJSON, "HANDLER", self))
	for name, b := range functions {
		write(t, filepath.Join(s.root, name, "function.json"), b)
	}
	director := httptest.NewServer(http.HandlerFunc(s.direct))
	t.Cleanup(director.Close)
	s.env = map[string]string{directorSetting: director.URL}
	return s
}

const plainHost = `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"HANDLER"}}}`

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) direct(w http.ResponseWriter, r *http.Request) {
	var c cue
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	s.cues = append(s.cues, c)
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(s.play(r.Context(), c))
}

// told returns everything that handlers have told so far.
func (s *stage) told() []cue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cues)
}

// calls returns the invocations seen so far.
func (s *stage) calls() []cue {
	var calls []cue
	for _, c := range s.told() {
		if c.Method != "" {
			calls = append(calls, c)
		}
	}
	return calls
}

// start hosts the stage.
func (s *stage) start(change ...func(*Config)) *Host {
	s.t.Helper()
	c := Config{Root: s.root, Env: s.env, Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), CPUs: 2}
	for _, f := range change {
		f(&c)
	}
	h, err := Start(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = h.Close() })
	return h
}

// ready hosts the stage and waits for its processes.
func (s *stage) ready(change ...func(*Config)) *Host {
	s.t.Helper()
	h := s.start(change...)
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Ready(ctx); err != nil {
		s.t.Fatalf("%v\n%s", err, s.log)
	}
	return h
}

// logBook keeps log lines and lets a test wait for one.
type logBook struct {
	mu    sync.Mutex
	lines []string
	grown chan struct{}
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return len(b), nil
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

func (l *logBook) count(text string) int { return strings.Count(l.String(), text) }

// await waits until text stands in the log n times, and returns the last line with it.
func (l *logBook) await(t *testing.T, text string, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		l.mu.Lock()
		found, last := 0, ""
		for _, line := range l.lines {
			if strings.Contains(line, text) {
				found, last = found+1, line
			}
		}
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		if found >= n {
			return last
		}
		select {
		case <-grown:
		case <-ctx.Done():
			t.Fatalf("log never said %q %d times:\n%s", text, n, l)
		}
	}
}
