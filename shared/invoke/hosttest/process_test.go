package hosttest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

const tick = `{"bindings":[{"name":"tick","type":"timerTrigger","direction":"in","schedule":"0 0 0 1 1 *"}]}`

func always(a act) func(context.Context, cue) act { return func(context.Context, cue) act { return a } }

// waits waits until as many wait for the clock.
func waits(t *testing.T, clock *clockwork.FakeClock, waiters int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := clock.BlockUntilContext(ctx, waiters); err != nil {
		t.Fatalf("%d never waited for the clock", waiters)
	}
}

func TestAProcessSeesTheSettingsAndNothingElse(t *testing.T) {
	t.Parallel()
	host := `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"HANDLER","arguments":["--a","%COLOUR%","%NONE%"]}}}`
	s := newStage(t, host, map[string]string{"wake": tick}, always(ok()))
	s.env["COLOUR"] = "green"
	h := s.ready()
	p := h.Processes()
	if len(p) != 1 || p[0].Group != "function:wake" || !p[0].Running || p[0].PID == 0 || p[0].Ready <= 0 || p[0].Restarts != 0 {
		t.Errorf("processes %+v", p)
	}
	if p[0].PeakRSS < 1<<20 {
		t.Errorf("peak memory %d", p[0].PeakRSS)
	}
	c := s.told()[0]
	if c.Dir != s.root || !slices.Equal(c.Args, []string{"--a", "green"}) {
		t.Errorf("started in %s with %q", c.Dir, c.Args)
	}
	var names []string
	for _, v := range c.Env {
		name, value, _ := strings.Cut(v, "=")
		names = append(names, name)
		if name == "FUNCTIONS_APP_ROOT_PATH" && value != s.root {
			t.Errorf("%s", v)
		}
	}
	slices.Sort(names)
	want := []string{"COLOUR", "FUNCTIONS_APP_ROOT_PATH", "FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "FUNCTIONS_HTTPWORKER_ID", "FUNCTIONS_HTTPWORKER_PORT", directorSetting}
	if !slices.Equal(names, want) {
		t.Errorf("variables %q", names)
	}
}

func TestOneProcessPerScaleGroup(t *testing.T) {
	t.Parallel()
	web := `{"bindings":[{"name":"req","type":"httpTrigger"},{"name":"res","type":"http","direction":"out"}]}`
	s := newStage(t, plainHost, map[string]string{"wake": tick, "tock": tick, "one": web, "two": web}, always(ok()))
	var groups []string
	for _, p := range s.ready().Processes() {
		groups = append(groups, p.Group)
	}
	slices.Sort(groups)
	if want := []string{"function:tock", "function:wake", "http"}; !slices.Equal(groups, want) {
		t.Errorf("groups %q", groups)
	}
}

func TestOutputLevels(t *testing.T) {
	t.Parallel()
	lines := []struct{ stdout, stderr, level, category string }{
		{stdout: "an error of words", level: "INFO", category: "Host.Function.Console"},
		{stderr: "anything", level: "ERROR", category: "Host.Function.Console"},
		{stderr: "a WARNing", level: "WARN", category: "Host.Function.Console"},
		{stdout: "LanguageWorkerConsoleLogsystem", level: "INFO", category: "Worker"},
		{stdout: "azfuncjsonlog:{}", level: "INFO", category: "ToolingConsoleLog"},
	}
	next := make(chan act, len(lines))
	s := newStage(t, plainHost, map[string]string{"wake": tick}, func(_ context.Context, c cue) act {
		if c.Method == "" {
			return act{}
		}
		return <-next
	})
	h := s.ready()
	for _, l := range lines {
		a := ok()
		a.Stdout, a.Stderr = l.stdout, l.stderr
		next <- a
		if err := h.Fire(t.Context(), "wake"); err != nil {
			t.Fatal(err)
		}
		text := strings.TrimPrefix(l.stdout+l.stderr, "LanguageWorkerConsoleLog")
		got := s.log.await(t, `"`+strings.ReplaceAll(text, `"`, `\"`)+`"`, 1)
		if !strings.Contains(got, `"level":"`+l.level) || !strings.Contains(got, l.category) {
			t.Errorf("%q became %s", text, got)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		code     int
		restarts int
		strikes  int
	}{
		{"200 is free", 200, 1, 0},
		{"1 is a strike", 1, 1, 1},
		{"0 is never started again", 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, plainHost, map[string]string{"wake": tick}, func(_ context.Context, c cue) act {
				if c.Method == "" {
					return act{}
				}
				return act{Leave: true, Exit: tt.code}
			})
			h := s.ready()
			if err := h.Fire(t.Context(), "wake"); err == nil {
				t.Error("the invocation that ended its process succeeded")
			}
			s.log.await(t, "has exited with code", 1)
			if tt.restarts > 0 {
				s.log.await(t, "Worker process started and initialized.", 2)
			} else if err := h.Fire(t.Context(), "wake"); err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("after exit 0: %v", err)
			}
			if p := h.Processes()[0]; p.Restarts != tt.restarts || p.Running != (tt.restarts > 0) {
				t.Errorf("process %+v", p)
			}
			if got := h.groups[0].instances[0].w.strikes; got != tt.strikes {
				t.Errorf("%d strikes", got)
			}
			if h.Err() != nil {
				t.Error(h.Err())
			}
		})
	}
}

func TestTheThirdStrikeEndsTheHost(t *testing.T) {
	t.Parallel()
	s := newStage(t, plainHost, map[string]string{"wake": tick}, always(act{Leave: true, Exit: 3}))
	h := s.start()
	<-h.Done()
	if !errors.Is(h.Err(), ErrStrikes) {
		t.Errorf("ended with %v", h.Err())
	}
	s.log.await(t, "Exceeded http worker restart retry count. Shutting down Functions Host", 1)
	if n := s.log.count("exited with code 3 (0x3)"); n != 3 {
		t.Errorf("%d exits", n)
	}
}

func TestStrikesAreForgottenAfterThirtyMinutes(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC))
	s := newStage(t, plainHost, map[string]string{"wake": tick}, always(ok()))
	h := s.ready(func(c *Config) { c.Clock = clock })
	for i := range 6 { // pairs of crashes, the pairs 31 minutes apart
		if err := h.Kill("wake"); err != nil {
			t.Fatal(err)
		}
		s.log.await(t, "Worker process started and initialized.", i+2)
		if i%2 == 1 {
			clock.Advance(31 * time.Minute)
		}
	}
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	s.log.await(t, "exited with code 137 (0x89)", 6)
	for i := range 3 {
		_ = h.Kill("wake")
		s.log.await(t, "exited with code 137 (0x89)", 7+i)
	}
	select {
	case <-h.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("three crashes in a row did not end the host")
	}
}

func TestAProcessThatIsNotReadyInTime(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	s := newStage(t, plainHost, map[string]string{"wake": tick}, always(act{Deaf: true}))
	h := s.start(func(c *Config) { c.Clock = clock })
	for i := range 3 {
		s.log.await(t, "Starting worker process", i+1)
		// the timer of the function waits as well
		waits(t, clock, 2)
		clock.Advance(30 * time.Second)
	}
	<-h.Done()
	if !errors.Is(h.Err(), ErrStrikes) || s.log.count("Initializing HttpWorker timed out.") != 3 {
		t.Errorf("ended with %v\n%s", h.Err(), s.log)
	}
}

func TestAnExecutableThatCannotStart(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	s := newStage(t, plainHost, map[string]string{"wake": tick}, always(ok()))
	s.env["AzureFunctionsJobHost__customHandler__description__defaultExecutablePath"] = "no-such-file"
	h := s.start(func(c *Config) { c.Clock = clock })
	s.log.await(t, "Failed to start Worker Channel. Process fileName: no-such-file", 1)
	fired := make(chan error, 1)
	go func() { fired <- h.Fire(t.Context(), "wake") }()
	s.log.await(t, "Executing 'Functions.wake'", 1)
	waits(t, clock, 3) // the timer, the wait, the function's timeout
	clock.Advance(119 * time.Second)
	waits(t, clock, 3) // still
	clock.Advance(time.Second)
	if err := <-fired; !errors.Is(err, ErrNoStart) {
		t.Errorf("fire: %v", err)
	}
	<-h.Done()
	if !errors.Is(h.Err(), ErrNoStart) {
		t.Errorf("ended with %v", h.Err())
	}
	s.log.await(t, "Final functionDispatcher state: Initializing. Initialization timed out and host is shutting down", 1)
}

func TestAnInvocationWaitsForTheNextProcess(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	first := make(chan struct{}, 1)
	first <- struct{}{}
	s := newStage(t, plainHost, map[string]string{"wake": tick}, func(_ context.Context, c cue) act {
		if c.Method == "" {
			select {
			case <-first:
			default:
				<-hold
			}
		}
		return ok()
	})
	h := s.ready()
	if err := h.Kill("wake"); err != nil {
		t.Fatal(err)
	}
	s.log.await(t, "exited with code 137", 1)
	fired := make(chan error, 1)
	go func() { fired <- h.Fire(t.Context(), "wake") }()
	s.log.await(t, "Executing 'Functions.wake'", 1)
	close(hold)
	if err := <-fired; err != nil {
		t.Errorf("fire: %v", err)
	}
}
