package invoke

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

func post(path, body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
}

// newMux returns a mux and what it logs.
func newMux() (*Mux, *bytes.Buffer) {
	var out bytes.Buffer
	return New(slog.New(slog.NewJSONHandler(&out, nil)), clockwork.NewFakeClock()), &out
}

func serveOne(m http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

func logged(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	var l map[string]any
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		t.Fatalf("not one JSON line: %v: %s", err, out)
	}
	return l
}

func TestASuccessIsAnEmptyObject(t *testing.T) {
	t.Parallel()
	m, out := newMux()
	clock := m.clock.(*clockwork.FakeClock)
	var got Message
	m.Message("copyshard", func(_ context.Context, msg Message) error {
		got = msg
		clock.Advance(1500 * time.Millisecond)
		return nil
	})
	r := post("/copyshard", string(golden(t, "message.json")))
	r.Header.Set("traceparent", "00-aa-bb-01")
	w := serveOne(m, r)
	if w.Code != 200 || w.Body.String() != "{}" || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		t.Errorf("answer %d %q %q", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if got.Function != "copyshard" || got.Trace != "00-aa-bb-01" || string(got.Body) != `{"v":1}` {
		t.Errorf("message %+v", got)
	}
	l := logged(t, out)
	for k, want := range map[string]any{"level": "INFO", "function": "copyshard", "id": "plan-42-1", "session": "mailbox-42", "delivery": 1.0, "seconds": 1.5, "outcome": "ok"} {
		if l[k] != want {
			t.Errorf("log %s = %v, want %v", k, l[k], want)
		}
	}
	if strings.Contains(out.String(), `\"v\"`) || strings.Contains(out.String(), "eyJ2IjoxfQ") {
		t.Errorf("body in the log: %s", out)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, outcome, answer string
		do                          func() error
	}{
		{"error", string(golden(t, "message.json")), "failed", `{"error":"import item: boom"}`, func() error { return fmt.Errorf("import item: %w", errors.New("boom")) }},
		{"panic", string(golden(t, "message.json")), "panic", `{"error":"panic in function"}`, func() error { panic("secret of the crash") }},
		{"malformed", `{"Data":{"msg":7}}`, "malformed", `{"error":"malformed envelope: Data.msg: want a base64 string, got number"}`, func() error { return nil }},
		{"too long", `{"Data":{"msg":"` + strings.Repeat("A", maxEnvelope) + `"}}`, "malformed", `{"error":"malformed envelope: body is longer than 2097152 bytes"}`, func() error { return nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, out := newMux()
			m.Message("copyshard", func(context.Context, Message) error { return tt.do() })
			w := serveOne(m, post("/copyshard", tt.body))
			if w.Code != 500 || w.Body.String() != tt.answer || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
				t.Errorf("answer %d %s", w.Code, w.Body)
			}
			l := logged(t, out)
			if l["outcome"] != tt.outcome || l["level"] != "ERROR" || l["error"] == "" {
				t.Errorf("log %v", l)
			}
			if stack, _ := l["stack"].(string); (tt.outcome == "panic") != strings.Contains(stack, "mux_test.go") {
				t.Errorf("stack %q", stack)
			}
		})
	}
}

func TestPathsAreExact(t *testing.T) {
	t.Parallel()
	m, _ := newMux()
	m.Tick("startwaves", func(context.Context, Tick) error { return nil })
	m.Request("status", "GET waves/{wave}", http.NotFoundHandler())
	tests := []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 200},
		{"HEAD", "/", 200},
		{"POST", "/", 405},
		{"POST", "/startwaves", 200},
		{"GET", "/startwaves", 405},
		{"POST", "/startwaves/", 404},
		{"POST", "/Startwaves", 404},
		{"POST", "//startwaves", 404},
		{"POST", "/x/../startwaves", 404},
		{"POST", "/start%77aves", 404},
		{"GET", "/api", 404},
		{"GET", "/api/waves", 404},
		{"POST", "/api/waves/1", 405},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tt.method, "http://h"+tt.path, strings.NewReader(`{"Data":{"t":{}}}`))
			w := serveOne(m, r)
			if w.Code != tt.want || w.Header().Get("Location") != "" {
				t.Errorf("got %d, want %d", w.Code, tt.want)
			}
			if tt.want == 405 && w.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestATickArrives(t *testing.T) {
	t.Parallel()
	m, out := newMux()
	var got Tick
	m.Tick("startwaves", func(_ context.Context, tick Tick) error { got = tick; return nil })
	serveOne(m, post("/startwaves", string(golden(t, "tick.json"))))
	if !got.PastDue || got.Next.Minute() != 15 {
		t.Errorf("tick %+v", got)
	}
	if l := logged(t, out); l["id"] != nil || l["outcome"] != "ok" {
		t.Errorf("log %v", l)
	}
}

func TestRegisteringTwicePanics(t *testing.T) {
	t.Parallel()
	h := http.NotFoundHandler()
	tests := map[string]func(m *Mux){
		"function":  func(m *Mux) { m.Request("a", "a", h); m.Tick("a", nil) },
		"no name":   func(m *Mux) { m.Tick("", nil) },
		"route":     func(m *Mux) { m.Request("a", "x/{y}", h); m.Request("b", "X/{z}", h) },
		"malformed": func(m *Mux) { m.Request("a", "x/{y", h) },
		"inner *":   func(m *Mux) { m.Request("a", "{*x}/y", h) },
	}
	for name, register := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			m, _ := newMux()
			register(m)
		})
	}
}

// echo answers what it was asked, and 201.
func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Add("X-Two", "1")
	w.Header().Add("X-Two", "2")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "%s %s wave=%s body=%q type=%s two=%v", r.Method, r.URL.RequestURI(), r.PathValue("wave"), b, r.Header.Get("content-type"), r.Header.Values("X-Two"))
}

func TestARequestInAnEnvelope(t *testing.T) {
	t.Parallel()
	tests := []struct{ file, want string }{
		{"request.json", `POST /api/waves/w-1?dry=1&dry=2 wave=w-1 body="source,target\n" type=text/csv; charset=utf-8 two=[a b]`},
		{"request-binary.json", `PUT /api/waves/w-1 wave=w-1 body="\x00\x01\xff" type=application/octet-stream two=[]`},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			m, out := newMux()
			m.Request("submitbatch", "waves/{wave}", http.HandlerFunc(echo))
			w := serveOne(m, post("/submitbatch", string(golden(t, tt.file))))
			var got struct {
				Outputs struct{ Res response }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			a := got.Outputs.Res
			if a.Status != 201 || a.Headers["X-Two"] != "1, 2" || a.Headers["Content-Type"] != "text/plain" || a.Body != tt.want {
				t.Errorf("answer %+v\nwant %s", a, tt.want)
			}
			if l := logged(t, out); l["status"] != 201.0 || l["outcome"] != "ok" {
				t.Errorf("log %v", l)
			}
		})
	}
}

func TestAnEnvelopeAnswersTextOnly(t *testing.T) {
	t.Parallel()
	m, _ := newMux()
	m.Request("f", "f", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff}) }))
	if w := serveOne(m, post("/f", string(golden(t, "request.json")))); w.Code != 500 || !strings.Contains(w.Body.String(), "not text") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := serveOne(m, post("/f", `{"Data":{"request":{}}}`)); w.Code != 500 || !strings.Contains(w.Body.String(), "Data.req: missing") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAForwardedRequest(t *testing.T) {
	t.Parallel()
	m, out := newMux()
	m.Request("submitbatch", "POST waves", http.HandlerFunc(echo))
	m.Request("listwaves", "GET waves", http.HandlerFunc(echo))
	m.Request("status", "Waves/{wave}/{part?}", http.HandlerFunc(echo))
	m.Request("file", "files/{*wave}", http.HandlerFunc(echo))
	tests := []struct {
		method, path, function, wave string
		code                         int
	}{
		{"POST", "/api/waves", "submitbatch", "", 201},
		{"GET", "/api/waves/", "listwaves", "", 201},
		{"GET", "/API/WAVES", "listwaves", "", 201},
		{"DELETE", "/api/waves", "", "", 405},
		{"GET", "/api/waves/w%201", "status", "w 1", 201},
		{"GET", "/api/waves/w%2F1", "status", "w/1", 201},
		{"GET", "/api/waves/1/2", "status", "1", 201},
		{"GET", "/api/waves/1/2/3", "", "", 404},
		{"GET", "/api/waves//2", "", "", 404},
		{"GET", "/api/files/a/b%20c", "file", "a/b c", 201},
		{"GET", "/api/files", "file", "", 201},
	}
	for _, tt := range tests {
		out.Reset()
		w := serveOne(m, httptest.NewRequest(tt.method, "http://h"+tt.path, strings.NewReader("x")))
		if w.Code != tt.code {
			t.Errorf("%s %s: got %d, want %d", tt.method, tt.path, w.Code, tt.code)
		}
		if tt.function == "" {
			continue
		}
		if l := logged(t, out); l["function"] != tt.function || l["status"] != 201.0 {
			t.Errorf("%s %s: log %v", tt.method, tt.path, l)
		}
		if want := "wave=" + tt.wave + " body"; !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s %s: got %s, want %s", tt.method, tt.path, w.Body, want)
		}
	}
}

func TestAForwardedPanic(t *testing.T) {
	t.Parallel()
	m, out := newMux()
	m.Request("early", "early", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("early") }))
	m.Request("late", "late", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic("late")
	}))
	if w := serveOne(m, httptest.NewRequest("GET", "/api/early", nil)); w.Code != 500 || !strings.Contains(w.Body.String(), "panic") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if l := logged(t, out); l["outcome"] != "panic" || l["status"] != 500.0 {
		t.Errorf("log %v", l)
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("an answer cut short looks whole: %v", v)
		}
	}()
	serveOne(m, httptest.NewRequest("GET", "/api/late", nil))
}
