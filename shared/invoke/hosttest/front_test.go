package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

func webFunction(level string) string {
	return `{"bindings":[{"name":"req","type":"httpTrigger","authLevel":"` + level + `"},{"name":"res","type":"http","direction":"out"}]}`
}

func withFlag(flag string) string {
	return strings.Replace(plainHost, `"customHandler":{`, `"customHandler":{"`+flag+`":true,`, 1)
}

type answered struct {
	code   int
	header http.Header
	body   string
}

func do(t *testing.T, method, url string, body io.Reader, header ...string) answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	fresh := &http.Transport{DisableKeepAlives: true} // which sends nothing twice by itself
	resp, err := fresh.RoundTrip(r)
	if err != nil {
		return answered{body: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answered{code: -1, body: err.Error()}
	}
	return answered{resp.StatusCode, resp.Header, string(b)}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := newStage(t, plainHost, map[string]string{"open": webFunction("anonymous"), "keyed": webFunction("function"), "deft": webFunction(""), "adm": webFunction("admin")}, always(ok()))
	h := s.ready(func(c *Config) { c.Key, c.MasterKey = "fkey", "mkey" })
	tests := []struct {
		path, key string
		want      int
	}{
		{"/api/open", "", 200},
		{"/api/keyed", "", 401},
		{"/api/keyed", "wrong", 401},
		{"/api/keyed", "fkey", 200},
		{"/api/keyed", "mkey", 200},
		{"/api/keyed?code=fkey", "", 200},
		{"/api/keyed?code=fkey", "wrong", 401}, // the header goes first
		{"/api/deft", "", 401},
		{"/api/adm", "fkey", 401},
		{"/api/adm", "mkey", 200},
		{"/api/none", "mkey", 404},
		{"/open", "mkey", 404},
		{"/", "", 200},
		{"/admin/host/ping", "", 200},
		{"/admin/host/status", "fkey", 401},
		{"/admin/host/status", "mkey", 200},
		{"/admin/nothing", "mkey", 404},
	}
	for _, tt := range tests {
		if got := do(t, "GET", h.URL()+tt.path, nil, "x-functions-key", tt.key); got.code != tt.want {
			t.Errorf("%s with %q: got %d, want %d", tt.path, tt.key, got.code, tt.want)
		}
	}
	if h.Key() != "fkey" || h.MasterKey() != "mkey" {
		t.Error("keys")
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	fn := func(route string, methods ...string) template {
		tm, err := parseTemplate("api", &function{name: "Fn", trigger: binding{Route: &route, Methods: methods}})
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	tests := []struct {
		template     template
		method, path string
		want         string // "" is no match
	}{
		{fn(""), "GET", "/api/fn", "{}"},
		{fn("Waves/{wave}"), "GET", "/API/waves/W%201/", `{"wave":"W 1"}`},
		{fn("waves/{wave}"), "GET", "/api/waves", ""},
		{fn("waves/{wave}"), "GET", "/api/waves/a/b", ""},
		{fn("waves/{wave?}"), "GET", "/api/waves", `{"wave":null}`},
		{fn("waves/{n:int}"), "GET", "/api/waves/12", `{"n":"12"}`},
		{fn("waves/{n:int}"), "GET", "/api/waves/x", ""},
		{fn("waves/{n:int:maxlength(2)?}"), "GET", "/api/waves/123", ""},
		{fn("waves/{n:guid}"), "GET", "/api/waves/4e773554-f6b7-4ea2-b07d-4c5fd5aba741", `{"n":"4e773554-f6b7-4ea2-b07d-4c5fd5aba741"}`},
		{fn("f/{*rest}"), "GET", "/api/f/a/b", `{"rest":"a/b"}`},
		{fn("x", "post"), "POST", "/api/x", "{}"},
		{fn("x", "post"), "GET", "/api/x", ""},
	}
	for _, tt := range tests {
		params, ok := tt.template.match(tt.method, tt.path)
		got := ""
		if ok {
			got = encode(params)
		}
		if got != tt.want {
			t.Errorf("%s %s on %s: got %q, want %q", tt.method, tt.path, tt.template.text, got, tt.want)
		}
	}
	for _, route := range []string{"a/{b", "a/{}", "a/x{b}", "a/{b?}/c", "{*b}/c", "a/{b:even}", "a/{b=1}"} {
		if _, err := parseTemplate("api", &function{trigger: binding{Route: &route}}); err == nil {
			t.Errorf("route %s is accepted", route)
		}
	}
	admin := "admin/x"
	if _, err := parseTemplate("", &function{trigger: binding{Route: &admin}}); err == nil {
		t.Error("a route below /admin is accepted")
	}
}

const waves = `{"bindings":[{"name":"req","type":"httpTrigger","authLevel":"anonymous","route":"waves/{wave}"},{"name":"res","type":"http","direction":"out"}]}`

func TestEnvelopeMode(t *testing.T) {
	t.Parallel()
	js := map[string]string{"Content-Type": "application/json"}
	tests := []struct {
		name, out   string
		code        int
		contentType string
		body        string
	}{
		{"object", `{"Outputs":{"res":{"statusCode":202,"headers":{"Location":"/x","Content-Type":"text/csv"},"body":"a,b"}}}`, 202, "text/csv", "a,b"},
		{"status as text", `{"Outputs":{"res":{"statusCode":"404","body":""}}}`, 404, "text/plain; charset=utf-8", ""},
		{"object body", `{"Outputs":{"res":{"body":{"a":1}}}}`, 200, "text/plain; charset=utf-8", "{\n  \"a\": 1\n}"},
		{"base64 stays", `{"Outputs":{"res":{"body":"YWJj"}}}`, 200, "text/plain; charset=utf-8", "YWJj"},
		{"status without body is lost", `{"Outputs":{"res":{"statusCode":202}}}`, 200, "text/plain; charset=utf-8", `{"StatusCode":202,"Status":null,"Body":null,"Headers":null}`},
		{"string is no object", `{"Outputs":{"res":"hello"}}`, 500, "", ""},
		{"nothing put out", `{"Outputs":{}}`, 200, "text/plain; charset=utf-8", "{}"},
		{"no outputs", `{}`, 200, "", ""},
	}
	next := make(chan act, 1)
	s := newStage(t, plainHost, map[string]string{"status": waves}, func(_ context.Context, c cue) act {
		if c.Method == "" {
			return act{}
		}
		return <-next
	})
	h := s.ready()
	for _, tt := range tests {
		next <- act{Status: 200, Header: js, Body: tt.out}
		got := do(t, "POST", h.URL()+"/api/Waves/w-1?a=1&a=2", strings.NewReader("x,y"), "Content-Type", "text/csv", "X-Y", "z")
		if got.code != tt.code || got.header.Get("Content-Type") != tt.contentType || got.body != tt.body {
			t.Errorf("%s: got %d %q %q", tt.name, got.code, got.header.Get("Content-Type"), got.body)
		}
	}
	c := s.calls()[0]
	var e struct {
		Data struct {
			Req struct {
				URL          string `json:"Url"`
				Method, Body string
				Query        map[string]string
				Headers      map[string][]string
				Params       map[string]string
			}
		}
		Metadata map[string]any
	}
	if err := json.Unmarshal([]byte(c.Body), &e); err != nil {
		t.Fatal(err)
	}
	if r := e.Data.Req; c.Path != "/status" || r.URL != h.URL()+"/api/Waves/w-1?a=1&a=2" || r.Method != "POST" || r.Body != "x,y" || r.Query["a"] != "1,2" ||
		r.Headers["X-Y"][0] != "z" || r.Params["wave"] != "w-1" || e.Metadata["wave"] != `"w-1"` {
		t.Errorf("%s %+v %v", c.Path, r, e.Metadata)
	}
	next <- ok()
	do(t, "POST", h.URL()+"/api/waves/w", strings.NewReader("\x00\xff"), "Content-Type", "application/octet-stream")
	next <- ok()
	do(t, "POST", h.URL()+"/api/waves/w", io.MultiReader(strings.NewReader("chunked")), "Content-Type", "text/plain")
	calls := s.calls()
	if b := calls[len(calls)-2].Body; !strings.Contains(b, `"Body":"AP8="`) {
		t.Errorf("octets: %s", b)
	}
	if b := calls[len(calls)-1].Body; strings.Contains(b, `"Body"`) {
		t.Errorf("a chunked body arrived: %s", b)
	}
}

func TestReturnValues(t *testing.T) {
	t.Parallel()
	fn := `{"bindings":[{"name":"req","type":"httpTrigger","authLevel":"anonymous"},{"name":"$return","type":"http","direction":"out"}]}`
	next := make(chan string, 1)
	s := newStage(t, plainHost, map[string]string{"f": fn}, func(_ context.Context, c cue) act {
		a := ok()
		if c.Method != "" {
			a.Body = <-next
		}
		return a
	})
	h := s.ready()
	for in, want := range map[string]string{
		`{"ReturnValue":"hello"}`:                            "200 hello",
		`{"ReturnValue":"YWJj"}`:                             "200 abc", // valid base64 is decoded
		`{"ReturnValue":{"statusCode":201,"body":"made"}}`:   "201 made",
		`{"ReturnValue":null}`:                               "200 ",
		`{"ReturnValue":12}`:                                 "200 12",
		`{"Outputs":{"$return":"ignored"},"ReturnValue":""}`: "200 ",
	} {
		next <- in
		got := do(t, "GET", h.URL()+"/api/f", nil)
		if g := strings.TrimSpace(http.StatusText(got.code)); g == "" || strings.Join([]string{map[int]string{200: "200", 201: "201"}[got.code], got.body}, " ") != want {
			t.Errorf("%s: got %d %q, want %q", in, got.code, got.body, want)
		}
	}
}

func TestForwardedAndProxied(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"enableForwardingHttpRequest", "enableProxyingHttpRequest"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			next := make(chan act, 1)
			s := newStage(t, withFlag(flag), map[string]string{"status": waves, "wake": tick}, func(_ context.Context, c cue) act {
				if c.Method == "" || c.Path == "/wake" {
					return ok()
				}
				return <-next
			})
			h := s.ready()
			next <- act{Status: 503, Header: map[string]string{"Content-Type": "text/x", "X-A": "b"}, Body: "as it is"}
			got := do(t, "PUT", h.URL()+"/api/waves/w%201?q=%20", strings.NewReader("body"), "X-Y", "z")
			if got.code != 503 || got.header.Get("X-A") != "b" || got.body != "as it is" {
				t.Errorf("answer %+v", got)
			}
			s.log.await(t, "Executed 'Functions.status' (Succeeded", 1) // the host does not look at the status
			c := s.calls()[0]
			if c.Method != "PUT" || c.Path != "/api/waves/w%201?q=%20" || c.Body != "body" || c.Header.Get("X-Y") != "z" || c.Header.Get("X-Azure-Functions-InvocationId") == "" {
				t.Errorf("request %+v", c)
			}

			next <- ok()
			do(t, "POST", h.URL()+"/api/waves/w", io.MultiReader(strings.NewReader("chunked")))
			want := "chunked"
			if flag == "enableForwardingHttpRequest" {
				want = "" // a body without Content-Length is dropped
			}
			if c := s.calls()[1]; c.Body != want {
				t.Errorf("chunked body %q", c.Body)
			}

			next <- act{Status: 200, Header: map[string]string{"A": "b"}, Body: "half", Break: true}
			if got := do(t, "GET", h.URL()+"/api/waves/w", nil); got.code > 0 {
				t.Errorf("half an answer looks whole: %+v", got)
			}
			if err := h.Fire(t.Context(), "wake"); err != nil { // other triggers still get envelopes
				t.Error(err)
			}

			next <- act{Leave: true, Exit: 200}
			got = do(t, "POST", h.URL()+"/api/waves/w", nil)
			if want := map[bool]int{true: 500, false: 502}[flag == "enableForwardingHttpRequest"]; got.code != want {
				t.Errorf("handler gone: %d", got.code)
			}
		})
	}
}

func TestLimitsOfTheFront(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	entered := make(chan struct{})
	release := make(chan struct{})
	s := newStage(t, plainHost, map[string]string{"slow": webFunction("anonymous")}, func(_ context.Context, c cue) act {
		if c.Method != "" {
			close(entered)
			<-release
		}
		return ok()
	})
	s.env["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] = "10"
	h := s.ready(func(c *Config) { c.Clock = clock })
	if got := do(t, "POST", h.URL()+"/api/slow", strings.NewReader("more than ten")); got.code != 413 {
		t.Errorf("long body: %d", got.code)
	}
	for _, long := range []string{"/api/" + strings.Repeat("x", maxURL), "/api/slow?" + strings.Repeat("x", maxQuery+1)} {
		if got := do(t, "GET", h.URL()+long, nil); got.code != 414 {
			t.Errorf("URL of %d bytes: %d", len(long), got.code)
		}
	}
	answer := make(chan answered, 1)
	go func() { answer <- do(t, "GET", h.URL()+"/api/slow", nil) }()
	<-entered
	waits(t, clock, 2)
	clock.Advance(230 * time.Second)
	if got := <-answer; got.code != 504 {
		t.Errorf("after 230 s: %d", got.code)
	}
	close(release) // the function went on behind the front
	s.log.await(t, "Executed 'Functions.slow' (Succeeded", 1)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	s := newStage(t, plainHost, map[string]string{"wake": tick, "web": webFunction("anonymous")}, always(ok()))
	h := s.ready()
	post := func(path, body string) int {
		return do(t, "POST", h.URL()+path, strings.NewReader(body), "x-functions-key", h.MasterKey()).code
	}
	for path, want := range map[string]int{"/admin/functions/wake": 202, "/admin/functions/web": 404, "/admin/functions/none": 404} {
		if got := post(path, `{"input":""}`); got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
	s.log.await(t, "Executed 'Functions.wake' (Succeeded", 1)
	if got := post("/admin/functions/wake", `x`); got != 400 {
		t.Errorf("malformed: %d", got)
	}
	status := func() string {
		return do(t, "GET", h.URL()+"/admin/host/drain/status", nil, "x-functions-key", h.MasterKey()).body
	}
	if got := status(); !strings.Contains(got, "Disabled") {
		t.Error(got)
	}
	if got := post("/admin/host/drain", ""); got != 202 {
		t.Errorf("drain: %d", got)
	}
	if got := status(); !strings.Contains(got, "Completed") {
		t.Error(got)
	}
}

func TestDrainWaitsAndThenKills(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s := newStage(t, plainHost, map[string]string{"slow": webFunction("anonymous")}, func(_ context.Context, c cue) act {
		if c.Method != "" {
			close(entered)
			<-release
		}
		return ok()
	})
	h := s.ready()
	answer := make(chan answered, 1)
	go func() { answer <- do(t, "GET", h.URL()+"/api/slow", nil) }()
	<-entered
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	<-h.listening.Done()
	if !h.Processes()[0].Running {
		t.Error("killed before the work was done")
	}
	close(release)
	if got := <-answer; got.code != 200 {
		t.Errorf("answer %+v", got)
	}
	if err := <-drained; err != nil || h.Err() != nil {
		t.Errorf("drain: %v, %v", err, h.Err())
	}
	if h.Processes()[0].Running {
		t.Error("still running")
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestDrainGivesUp(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s := newStage(t, plainHost, map[string]string{"slow": webFunction("anonymous")}, func(ctx context.Context, c cue) act {
		if c.Method != "" {
			close(entered)
			<-ctx.Done()
		}
		return ok()
	})
	h := s.ready()
	go func() { _ = do(t, "GET", h.URL()+"/api/slow", nil) }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	if h.Processes()[0].Running {
		t.Error("still running")
	}
}

// FuzzAnswer checks that no answer of a handler makes the host panic or write nothing.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"Outputs":{"res":{"statusCode":202,"headers":{"Location":"/x"},"body":"a"}}}`, `{"Outputs":{"res":"{\"body\":1}"}}`, `{"ReturnValue":"YWJj"}`, `null`, `{"Outputs":{"res":{"statusCode":"9999","headers":{"a b":1},"body":[]}}}`} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, body string, named bool) {
		out, err := readOutcome("application/json", []byte(body))
		if err != nil {
			return
		}
		fn := &function{out: "$return"}
		if named {
			fn.out = "res"
		}
		w := httptest.NewRecorder()
		if err := answer(w, fn, out); err == nil && (w.Code < 100 || w.Code > 999) {
			t.Errorf("status %d", w.Code)
		}
	})
}

// FuzzRoute checks that a template that is accepted matches without panicking.
func FuzzRoute(f *testing.F) {
	f.Add("waves/{wave:int?}", "/api/waves/%31/")
	f.Add("{*all}", "/api")
	f.Add("a/{b:maxlength(3)}", "/API/A/%zz")
	f.Fuzz(func(t *testing.T, route, path string) {
		tm, err := parseTemplate("api", &function{name: "f", trigger: binding{Route: &route}})
		if err != nil {
			return
		}
		if params, ok := tm.match("GET", path); ok && len(params) > len(tm.segments) {
			t.Errorf("%s on %s: %v", path, route, params)
		}
	})
}
