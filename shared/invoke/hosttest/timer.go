package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Status is what is remembered of a timer between runs of the host.
type Status struct {
	Last        time.Time // the last run; zero before the first
	Next        time.Time // when the next run is due
	LastUpdated time.Time
}

// Statuses keeps the status of each timer. Load reports false for a timer it has not seen.
type Statuses interface {
	Load(function string) (Status, bool, error)
	Save(function string, s Status) error
}

// MemoryStatuses forgets with the process. The zero value is empty.
type MemoryStatuses struct {
	mu  sync.Mutex
	all map[string]Status
}

// Load implements [Statuses].
func (m *MemoryStatuses) Load(function string) (Status, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.all[function]
	return s, ok, nil
}

// Save implements [Statuses].
func (m *MemoryStatuses) Save(function string, s Status) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[string]Status{}
	}
	m.all[function] = s
	return nil
}

// FileStatuses keeps one JSON file per timer in a folder, which it makes.
type FileStatuses string

func (dir FileStatuses) path(function string) string {
	return filepath.Join(string(dir), function+".json")
}

// Load implements [Statuses].
func (dir FileStatuses) Load(function string) (s Status, ok bool, err error) {
	b, err := os.ReadFile(dir.path(function))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, false, fmt.Errorf("load timer status: %w", err)
	}
	return s, true, nil
}

// Save implements [Statuses].
func (dir FileStatuses) Save(function string, s Status) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = os.MkdirAll(string(dir), 0o700)
	}
	if err == nil {
		err = os.WriteFile(dir.path(function), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("save timer status: %w", err)
	}
	return nil
}

// timer runs one timerTrigger: one run at a time, and none in between when a run takes long.
type timer struct {
	host   *Host
	f      *function
	w      *worker
	runs   sync.Mutex // held while the function runs
	mu     sync.Mutex // guards status
	status Status
}

func (t *timer) monitored() bool {
	return !t.f.cron.often && (t.f.trigger.UseMonitor == nil || *t.f.trigger.UseMonitor)
}

// run waits for each occurrence until ctx ends, and returns when no run is under way.
func (t *timer) run(ctx context.Context, pastDue bool) {
	switch {
	case pastDue:
		t.host.note(slog.LevelInfo, "Host.Triggers.Timer", fmt.Sprintf("Function '%s' is past due on startup. Executing now.", t.f.name))
		t.fire(true, true)
	case t.f.trigger.RunOnStartup:
		t.host.note(slog.LevelInfo, "Host.Triggers.Timer", fmt.Sprintf("Function '%s' is configured to run on startup. Executing now.", t.f.name))
		t.fire(false, true)
	}
	for ctx.Err() == nil {
		wait := t.host.clock.NewTimer(max(0, t.host.clock.Until(t.due())))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.Chan():
			t.fire(false, false)
		}
	}
}

func (t *timer) due() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status.Next
}

// restore loads or makes the status and says whether a run was missed. A schedule that has changed since
// misses nothing.
func (t *timer) restore() (pastDue bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.host.clock.Now()
	if !t.monitored() {
		t.status = Status{Next: t.f.cron.next(now)}
		return false
	}
	s, ok, err := t.host.statuses.Load(t.f.name)
	if err != nil {
		t.host.note(slog.LevelError, "Host.Triggers.Timer", "load status", slog.Any("error", err))
	}
	if !ok {
		t.status = Status{Next: t.f.cron.next(now), LastUpdated: now}
		t.save()
		return false
	}
	base := s.Last
	if base.IsZero() {
		base = s.LastUpdated
	}
	if expected := t.f.cron.next(base); !expected.Equal(s.Next) {
		if now.After(expected) {
			base, expected = now, t.f.cron.next(now)
		}
		s = Status{Next: expected, LastUpdated: base}
		t.status = s
		t.save()
	}
	t.status = s
	return now.After(s.Next)
}

func (t *timer) save() {
	if err := t.host.statuses.Save(t.f.name, t.status); err != nil {
		t.host.note(slog.LevelError, "Host.Triggers.Timer", "save status", slog.Any("error", err))
	}
}

// fire runs the function once, when no other run is under way, and notes the next occurrence whatever came
// of it. A run that came early counts as on time, so that no occurrence is taken twice.
func (t *timer) fire(pastDue, startup bool) {
	t.runs.Lock()
	defer t.runs.Unlock()
	at := t.host.clock.Now()
	reason := "Timer fired at " + local(at)
	_, _ = t.w.invoke(t.host.ctx, invocation{f: t.f, reason: reason}, t.envelope(pastDue)) // logged; the schedule goes on
	t.mu.Lock()
	defer t.mu.Unlock()
	if !pastDue && !startup && t.status.Next.After(at) {
		at = t.status.Next
	}
	t.status = Status{Last: at, Next: t.f.cron.next(at), LastUpdated: at}
	if t.monitored() {
		t.save()
	}
}

func (t *timer) envelope(pastDue bool) envelope {
	t.mu.Lock()
	defer t.mu.Unlock()
	var status any
	if t.monitored() {
		status = object{"Last": local(t.status.Last), "Next": local(t.status.Next), "LastUpdated": local(t.status.LastUpdated)}
	}
	value := object{"Schedule": object{"AdjustForDST": true}, "ScheduleStatus": status, "IsPastDue": pastDue}
	return t.host.newEnvelope(t.f, value, nil)
}

// manual runs the function now, beside its schedule, which does not change.
func (t *timer) manual(ctx context.Context) error {
	t.runs.Lock()
	defer t.runs.Unlock()
	_, err := t.w.invoke(ctx, invocation{f: t.f, reason: "This function was programmatically called via the host APIs."}, t.envelope(false))
	return err
}
