package hosttest

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

func TestTheRequestOfAnInvocation(t *testing.T) {
	t.Parallel()
	s := newStage(t, plainHost, map[string]string{"Wake-Up_1": tick}, always(ok()))
	s.env["APPLICATIONINSIGHTS_CONNECTION_STRING"] = "x"
	h := s.ready()
	if err := h.Fire(t.Context(), "wake-up_1"); err != nil {
		t.Fatal(err)
	}
	c := s.calls()[0]
	if c.Method != "POST" || c.Path != "/Wake-Up_1" || c.Length != -1 || len(c.Encoding) != 1 || c.Encoding[0] != "chunked" {
		t.Errorf("request %s %s length %d %v", c.Method, c.Path, c.Length, c.Encoding)
	}
	for name, want := range map[string]string{
		"Content-Type":                   "application/json; charset=utf-8",
		"X-Azure-Functions-Hostversion":  hostVersion,
		"User-Agent":                     "Azure-Functions-Host/" + hostVersion,
		"X-Azure-Functions-Invocationid": idOf(s.log.await(t, "Executed 'Functions.Wake-Up_1' (Succeeded", 1)),
		"Accept-Encoding":                "",
	} {
		if got := c.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if tp := c.Header.Get("Traceparent"); len(tp) != 55 {
		t.Errorf("traceparent %q", tp)
	}
}

// idOf cuts the invocation's id out of a log line.
func idOf(line string) string {
	_, rest, _ := strings.Cut(line, "Id=")
	id, _, _ := strings.Cut(rest, ",")
	return id
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	js := map[string]string{"Content-Type": "application/json"}
	tests := []struct {
		name string
		act  act
		want string
	}{
		{"success", ok(), ""},
		{"201 with logs", act{Status: 201, Header: js, Body: `{"Logs":["a line of the function"]}`}, ""},
		{"500", act{Status: 500, Header: js, Body: `{"Logs":["never seen"]}`}, "does not indicate success: 500 (Internal Server Error)"},
		{"429", act{Status: 429, Header: js, Body: `{}`}, "429"},
		{"text", act{Status: 200, Header: map[string]string{"Content-Type": "text/plain"}, Body: `{}`}, "Invalid HttpResponseMessage"},
		{"no JSON", act{Status: 200, Header: js, Body: `{`}, "Invalid HttpResponseMessage"},
		{"logs beside nonsense", act{Status: 200, Header: js, Body: `{"Logs":["never seen"],"Outputs":1}`}, "Invalid HttpResponseMessage"},
		{"cut short", act{Status: 200, Header: js, Body: `{}`, Break: true}, "EOF"},
		{"redirect to nothing", act{Status: 301, Header: map[string]string{"Location": "/"}}, "404"},
	}
	next := make(chan act, 1)
	s := newStage(t, plainHost, map[string]string{"wake": tick}, func(_ context.Context, c cue) act {
		if c.Method == "" {
			return act{}
		}
		return <-next
	})
	h := s.ready()
	for _, tt := range tests {
		next <- tt.act
		if err := h.Fire(t.Context(), "wake"); !says(err, tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if line := s.log.await(t, "a line of the function", 1); !strings.Contains(line, `"category":"Function.wake.User"`) {
		t.Error(line)
	}
	if s.log.count("never seen") != 0 {
		t.Error("logs of a failure were kept")
	}
}

func TestARedirectIsFollowedAsGet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, host, want string
	}{
		{"followed", plainHost, ""},
		{"forwarding hosts do not", strings.Replace(plainHost, `"customHandler":{`, `"customHandler":{"enableForwardingHttpRequest":true,`, 1), "301"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, tt.host, map[string]string{"wake": tick}, func(_ context.Context, c cue) act {
				if c.Path == "/wake" {
					return act{Status: 301, Header: map[string]string{"Location": "/wake/"}}
				}
				return ok()
			})
			h := s.ready()
			if err := h.Fire(t.Context(), "wake"); !says(err, tt.want) {
				t.Fatalf("got %v", err)
			}
			if tt.want != "" {
				return
			}
			if c := s.calls()[1]; c.Method != http.MethodGet || c.Path != "/wake/" || c.Body != "" {
				t.Errorf("followed with %s %s %q", c.Method, c.Path, c.Body)
			}
		})
	}
}

func TestAnEmptyAnswerHangsUntilTheTimeoutKills(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"empty": "", "null": "null"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := clockwork.NewFakeClock()
			entered := make(chan struct{}, 2)
			s := newStage(t, plainHost, map[string]string{"wake": tick}, func(_ context.Context, c cue) act {
				if c.Method == "" {
					return act{}
				}
				entered <- struct{}{}
				a := ok()
				a.Body = body
				return a
			})
			s.env["AzureFunctionsJobHost__functionTimeout"] = "00:05:00"
			h := s.ready(func(c *Config) { c.Clock = clock })
			before := h.Processes()[0].PID
			fired := make(chan error, 1)
			go func() { fired <- h.Fire(t.Context(), "wake") }()
			<-entered
			waits(t, clock, 2) // the timer, the function's timeout
			clock.Advance(5*time.Minute - time.Second)
			waits(t, clock, 2) // still
			clock.Advance(time.Second)
			if err := <-fired; err != errTimeout {
				t.Errorf("got %v", err)
			}
			s.log.await(t, "Timeout value of 00:05:00 exceeded by function 'Functions.wake'", 1)
			s.log.await(t, "Worker process started and initialized.", 2)
			if p := h.Processes()[0]; p.PID == before || p.Restarts != 1 || h.groups[0].instances[0].w.strikes != 0 {
				t.Errorf("process %+v", p)
			}
		})
	}
}

func TestATimeoutTakesTheOthersWithIt(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	entered := make(chan struct{}, 4)
	s := newStage(t, plainHost, map[string]string{"web": webFunction("anonymous")}, func(ctx context.Context, c cue) act {
		if c.Method != "" {
			entered <- struct{}{}
			<-ctx.Done() // until the handler is killed
		}
		return ok()
	})
	h := s.ready(func(c *Config) { c.Clock = clock; c.Env["AzureFunctionsJobHost__functionTimeout"] = "00:01:00" })
	answers := make(chan int, 2)
	get := func() {
		r, err := http.Get(h.URL() + "/api/web")
		if err != nil {
			t.Error(err)
			return
		}
		r.Body.Close()
		answers <- r.StatusCode
	}
	go get()
	<-entered
	clock.Advance(30 * time.Second)
	go get()
	<-entered
	clock.Advance(30 * time.Second) // the first has had its minute, the second half of it
	if a, b := <-answers, <-answers; a != 500 || b != 500 {
		t.Errorf("answers %d and %d", a, b)
	}
	if s.log.count("Timeout value of") != 1 {
		t.Error("the second timed out by itself")
	}
}

func TestAKillInTheSecondInvocation(t *testing.T) {
	t.Parallel()
	var second atomic.Bool
	s := newStage(t, plainHost, map[string]string{"wake": tick}, func(ctx context.Context, c cue) act {
		if c.Method != "" && second.Load() {
			<-ctx.Done() // until the handler is killed
		}
		return ok()
	})
	h := s.ready()
	if err := h.Inject(Fault{Function: "wake", On: 2, Kill: true}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		second.Store(i == 1)
		if err := h.Fire(t.Context(), "wake"); (err == nil) != want {
			t.Errorf("invocation %d: %v", i+1, err)
		}
	}
	if p := h.Processes()[0]; p.Restarts != 1 {
		t.Errorf("process %+v", p)
	}
	if err := h.Inject(Fault{Function: "nobody"}); err == nil {
		t.Error("a fault for nobody")
	}
}
