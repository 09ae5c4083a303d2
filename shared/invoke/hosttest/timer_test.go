package hosttest

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

func TestOccurrences(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct{ expression, after, want string }{
		{"0 */5 * * * *", "2026-11-02 10:02:30", "2026-11-02 10:05:00"},
		{"0 */5 * * * *", "2026-11-02 10:05:00", "2026-11-02 10:10:00"},
		{"*/10 * * * * *", "2026-12-31 23:59:55", "2027-01-01 00:00:00"},
		{"5,10,15 * * * * *", "2026-11-02 10:02:11", "2026-11-02 10:02:15"},
		{"0 30 9 * * Mon-Fri", "2026-11-06 09:30:00", "2026-11-09 09:30:00"},
		{"0 0 22 * * 1-5/2", "2026-11-02 22:00:00", "2026-11-04 22:00:00"},
		{"0 0 0 29 Feb *", "2026-11-02 00:00:00", "2028-02-29 00:00:00"},
		{"0 0 0 13 * friday", "2026-11-14 00:00:00", "2027-08-13 00:00:00"}, // both must match, unlike in cron
		{"0 0 0 1 1 *", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
		{"0 15/20 * * * *", "2026-11-02 10:36:00", "2026-11-02 10:55:00"},
		{"0 0 20-18 * * *", "2026-11-02 21:00:00", "2026-11-03 18:00:00"}, // ends swapped
		{"*/5 * * * *", "2026-11-02 10:02:30", "2026-11-02 10:05:00"},     // five fields are without seconds
		{"0 0 0 31 * *", "2026-10-31 00:00:00", "2026-12-31 00:00:00"},
	}
	for _, tt := range tests {
		t.Run(tt.expression, func(t *testing.T) {
			t.Parallel()
			s, err := parseSchedule(tt.expression)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.next(at(tt.after)); !got.Equal(at(tt.want)) {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "* * * *", "* * * * * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * 13 *", "* * * * * 7", "a * * * * *",
		"*/x * * * * *", "1- * * * * *", "0 0 0 31 2 *", "@daily", "0 0 0 L * *", "-1 * * * * *", "1,, * * * * *", "00:05:00"} {
		if _, err := parseSchedule(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

// FuzzSchedule checks that an expression that is accepted has its next occurrence after the time asked, at a
// second that each field allows.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 */5 * * * *", "0 0 0 29 feb *", "1-5/2,7 0 0 1 1 0", "* * * * *"} {
		f.Add(s, int64(1_793_000_000))
	}
	f.Fuzz(func(t *testing.T, expression string, unix int64) {
		s, err := parseSchedule(expression)
		if err != nil || unix < 0 || unix > 4_000_000_000 {
			return
		}
		after := time.Unix(unix, 0)
		n := s.next(after)
		if n.IsZero() {
			return
		}
		on := []int{n.Second(), n.Minute(), n.Hour(), n.Day(), int(n.Month()), int(n.Weekday())}
		for i, v := range on {
			if !s.fields[i][v] {
				t.Errorf("%q after %v: %v is not allowed", expression, after, n)
			}
		}
		if !n.After(after) {
			t.Errorf("%q after %v: %v", expression, after, n)
		}
	})
}

const everyFive = `{"bindings":[{"name":"tick","type":"timerTrigger","schedule":"%WHEN%"}]}`

type tickValue struct {
	ScheduleStatus *struct{ Last, Next, LastUpdated string }
	IsPastDue      bool
}

func tickOf(t *testing.T, c cue) tickValue {
	t.Helper()
	var e struct{ Data struct{ Tick tickValue } }
	if err := json.Unmarshal([]byte(c.Body), &e); err != nil {
		t.Fatal(err)
	}
	return e.Data.Tick
}

func TestATimerKeepsItsSchedule(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 10, 2, 0, 0, time.UTC))
	statuses := FileStatuses(t.TempDir() + "/timers")
	hold := make(chan struct{}, 10)
	s := newStage(t, plainHost, map[string]string{"wake": everyFive}, func(ctx context.Context, c cue) act {
		if c.Method != "" {
			select {
			case <-hold:
			case <-ctx.Done():
			}
		}
		return ok()
	})
	s.env["WHEN"] = "0 */5 * * * *"
	h := s.ready(func(c *Config) { c.Clock, c.Statuses = clock, statuses })
	advance := func(d time.Duration, waiters int) {
		t.Helper()
		waits(t, clock, waiters)
		clock.Advance(d)
	}
	advance(3*time.Minute, 1) // 10:05
	hold <- struct{}{}
	s.log.await(t, "Executed 'Functions.wake' (Succeeded", 1)
	if got := tickOf(t, s.calls()[0]); got.IsPastDue || got.ScheduleStatus.Last != "0001-01-01T00:00:00" || got.ScheduleStatus.Next != "2026-11-02T10:05:00+00:00" {
		t.Errorf("first %+v", got.ScheduleStatus)
	}
	advance(5*time.Minute, 1) // 10:10, and this run takes 12 minutes
	s.log.await(t, "Executing 'Functions.wake'", 2)
	advance(12*time.Minute, 1) // only the function's timeout waits: no second run beside the first
	if n := s.log.count("Executing 'Functions.wake'"); n != 2 {
		t.Errorf("%d runs at once", n)
	}
	hold <- struct{}{}
	s.log.await(t, "Executed 'Functions.wake' (Succeeded", 2)
	hold <- struct{}{} // 10:15 was missed meanwhile and is run at once, 10:20 is not
	s.log.await(t, "Executed 'Functions.wake' (Succeeded", 3)
	if got := tickOf(t, s.calls()[2]); got.IsPastDue || got.ScheduleStatus.Next != "2026-11-02T10:15:00+00:00" || got.ScheduleStatus.Last != "2026-11-02T10:10:00+00:00" {
		t.Errorf("third %+v", got.ScheduleStatus)
	}
	waits(t, clock, 1)
	_ = h.Close()

	clock.Advance(20 * time.Minute) // 10:42, with 10:25 and more missed
	hold <- struct{}{}
	h = s.ready(func(c *Config) { c.Clock, c.Statuses = clock, statuses })
	s.log.await(t, "is past due on startup", 1)
	s.log.await(t, "Executed 'Functions.wake' (Succeeded", 4)
	if got := tickOf(t, s.calls()[3]); !got.IsPastDue || got.ScheduleStatus.Next != "2026-11-02T10:25:00+00:00" {
		t.Errorf("past due %+v", got)
	}
	_ = h.Close()

	s.env["WHEN"] = "0 0 * * * *"
	clock.Advance(48 * time.Hour) // the schedule has changed: nothing is missed
	h = s.ready(func(c *Config) { c.Clock, c.Statuses = clock, statuses })
	got, _, err := statuses.Load("wake")
	if want := time.Date(2026, 11, 4, 11, 0, 0, 0, time.UTC); err != nil || !got.Next.Equal(want) || !got.Last.IsZero() {
		t.Errorf("status %+v, %v", got, err)
	}
	if n := s.log.count("past due on startup"); n != 1 {
		t.Errorf("%d past due", n)
	}
	_ = h.Close()
}

func TestAFrequentTimerIsNotMonitored(t *testing.T) {
	t.Parallel()
	s := newStage(t, plainHost, map[string]string{"wake": everyFive}, always(ok()))
	s.env["WHEN"] = "0,30 * * * * *"
	statuses := &MemoryStatuses{}
	h := s.ready(func(c *Config) { c.Statuses, c.Clock = statuses, clockwork.NewFakeClock() })
	if err := h.Fire(t.Context(), "wake"); err != nil {
		t.Fatal(err)
	}
	if got := tickOf(t, s.calls()[0]); got.ScheduleStatus != nil {
		t.Errorf("status %+v", got.ScheduleStatus)
	}
	if _, known, _ := statuses.Load("wake"); known {
		t.Error("status saved")
	}
	if err := h.Fire(t.Context(), "sleep"); err == nil {
		t.Error("fired a timer that is not there")
	}
}

func TestRunsOfATimerDoNotOverlap(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int32
	s := newStage(t, plainHost, map[string]string{"wake": tick}, func(_ context.Context, c cue) act {
		if c.Method != "" {
			n := running.Add(1)
			most.Store(max(n, most.Load()))
			defer running.Add(-1)
			for range 1000 {
				runtime.Gosched()
			}
		}
		return ok()
	})
	h := s.ready()
	var fires sync.WaitGroup
	for range 20 {
		fires.Go(func() {
			if err := h.Fire(t.Context(), "wake"); err != nil {
				t.Error(err)
			}
		})
		fires.Go(func() { h.groups[0].instances[0].timer.fire(false, false) })
	}
	fires.Wait()
	if most.Load() != 1 || len(s.calls()) != 40 {
		t.Errorf("%d at once, %d calls", most.Load(), len(s.calls()))
	}
}

func TestARunThatComesEarlyCountsAsOnTime(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 10, 4, 59, 900e6, time.UTC))
	s := newStage(t, plainHost, map[string]string{"wake": everyFive}, always(ok()))
	s.env["WHEN"] = "0 */5 * * * *"
	statuses := &MemoryStatuses{}
	h := s.ready(func(c *Config) { c.Clock, c.Statuses = clock, statuses })
	h.groups[0].instances[0].timer.fire(false, false)
	got, _, _ := statuses.Load("wake")
	if due := time.Date(2026, 11, 2, 10, 5, 0, 0, time.UTC); !got.Last.Equal(due) || !got.Next.Equal(due.Add(5*time.Minute)) {
		t.Errorf("status %+v", got)
	}
}

func TestRunOnStartup(t *testing.T) {
	t.Parallel()
	s := newStage(t, plainHost, map[string]string{"wake": `{"bindings":[{"name":"tick","type":"timerTrigger","schedule":"0 0 0 1 1 *","runOnStartup":true}]}`}, always(ok()))
	s.ready()
	s.log.await(t, "Executed 'Functions.wake' (Succeeded", 1)
}
