package starter_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/starter"
)

var (
	now     = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	errAway = errors.New("no route to host")
)

// desk is a starter with its ledger and bus.
type desk struct {
	*starter.Starter
	clock *clockwork.FakeClock
	post  *bus.Memory
}

func newDesk() *desk {
	d := &desk{clock: clockwork.NewFakeClockAt(now)}
	d.post = &bus.Memory{Clock: d.clock}
	d.Starter = &starter.Starter{Ledger: ledger.NewMemory(), Bus: d.post, Clock: d.clock, Log: slog.New(slog.DiscardHandler)}
	return d
}

// add writes a wave and its mailboxes m0, m1, …
func (d *desk) add(t *testing.T, w migration.Wave, boxes ...migration.Mailbox) {
	t.Helper()
	w.Mailboxes = len(boxes)
	for i := range boxes {
		boxes[i].ID, boxes[i].Wave = migration.MailboxID(fmt.Sprintf("m%d", i)), w.ID
	}
	if err := errors.Join(d.Ledger.AddMailboxes(t.Context(), boxes), d.Ledger.AddWave(t.Context(), w)); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) wave(t *testing.T, id migration.WaveID) migration.Wave {
	t.Helper()
	w, err := d.Ledger.Wave(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// sent takes everything off the bus: the IDs of the messages, and by how much each is held back.
func (d *desk) sent() (out []string) {
	for {
		l, ok := d.post.Take(now.AddDate(1, 0, 0))
		if !ok {
			return out
		}
		line := l.Message.ID(l.Queue)
		if !l.At.IsZero() {
			line += " " + l.At.Sub(now).String()
		}
		out = append(out, line)
	}
}

func (d *desk) tick(t *testing.T) {
	t.Helper()
	if err := d.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// broken is a bus that takes nothing.
type broken struct{}

func (broken) Send(context.Context, ...bus.Letter) error { return errAway }

func TestAWaveBegins(t *testing.T) {
	t.Parallel()
	fresh := migration.Mailbox{State: migration.Submitted, Changed: now}
	begun := migration.Mailbox{State: migration.Planning, Pass: 1, Changed: now}
	held := migration.Mailbox{State: migration.Paused, Was: migration.Submitted, Changed: now}
	back := migration.Mailbox{State: migration.Submitted, Epoch: 2, Changed: now}
	for _, tt := range []struct {
		name  string
		wave  migration.Wave
		boxes []migration.Mailbox
		want  []string
	}{
		{"at its time", migration.Wave{Start: now}, []migration.Mailbox{fresh, fresh}, []string{"plan/w/m0/1//0/0/0", "plan/w/m1/1//0/0/0"}},
		{"not before", migration.Wave{Start: now.Add(time.Second)}, []migration.Mailbox{fresh}, nil},
		{"once", migration.Wave{Start: now, Started: true, Looked: now}, []migration.Mailbox{fresh}, nil},
		{"with those that have not begun", migration.Wave{Start: now}, []migration.Mailbox{begun, held, back}, []string{"plan/w/m2/1//0/0/2"}},
		{"spread over its time", migration.Wave{Start: now, Spread: 90}, []migration.Mailbox{fresh, fresh, fresh},
			[]string{"plan/w/m0/1//0/0/0 0s", "plan/w/m1/1//0/0/0 30s", "plan/w/m2/1//0/0/0 1m0s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			tt.wave.ID = "w"
			d.add(t, tt.wave, tt.boxes...)
			d.tick(t)
			same(t, "messages", d.sent(), tt.want)
			if w := d.wave(t, "w"); w.Started != !tt.wave.Start.After(now) {
				t.Errorf("started %t", w.Started)
			}
		})
	}
}

// What cannot be sent now is sent by the next tick: the mark is written after it.
func TestABusThatIsAway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		wave migration.Wave
		box  migration.Mailbox
		want string
	}{
		{"begin", migration.Wave{Start: now}, migration.Mailbox{State: migration.Submitted, Changed: now}, "plan/w/m0/1//0/0/0"},
		{"cutover", migration.Wave{Start: now, Started: true, Looked: now, Cutover: now},
			migration.Mailbox{State: migration.Synced, Kind: migration.FullPass, Pass: 1, Changed: now}, "plan/w/m0/2//0/0/0"},
		{"nudge", migration.Wave{Start: now, Started: true}, migration.Mailbox{State: migration.Planning, Pass: 1, Changed: now.Add(-3 * time.Hour)},
			"plan/w/m0/1//0/0/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			tt.wave.ID = "w"
			d.add(t, tt.wave, tt.box)
			before := d.wave(t, "w")
			d.Bus = broken{}
			if err := d.Tick(t.Context()); !errors.Is(err, errAway) {
				t.Errorf("error %v", err)
			}
			if after := d.wave(t, "w"); after != before {
				t.Errorf("marked: %+v", after)
			}
			d.Bus = d.post
			d.tick(t)
			same(t, "messages", d.sent(), []string{tt.want})
		})
	}
}

// dark cannot list some partitions.
type dark struct {
	ledger.Table
	partition string
}

func (d dark) Rows(ctx context.Context, partition, prefix string) iter.Seq2[ledger.Row, error] {
	if partition != d.partition {
		return d.Table.Rows(ctx, partition, prefix)
	}
	return func(yield func(ledger.Row, error) bool) { yield(ledger.Row{}, errAway) }
}

func TestAWaveThatCannotBeReadHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, unread := range map[string]migration.Wave{
		"to begin":        {Start: now},
		"to cut over":     {Start: now, Started: true, Looked: now, Cutover: now},
		"to look through": {Start: now, Started: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			unread.ID = "a"
			d.add(t, unread, migration.Mailbox{State: migration.Synced})
			d.add(t, migration.Wave{ID: "b", Start: now}, migration.Mailbox{State: migration.Submitted})
			d.Ledger.Mailboxes = dark{d.Ledger.Mailboxes, "a"}
			if err := d.Tick(t.Context()); !errors.Is(err, errAway) {
				t.Errorf("error %v", err)
			}
			same(t, "messages", d.sent(), []string{"plan/b/m0/1//0/0/0"})
			if w := d.wave(t, "a"); w != func() migration.Wave { unread.Mailboxes = 1; return unread }() {
				t.Errorf("marked: %+v", w)
			}
			d.Ledger.Waves = dark{d.Ledger.Waves, "wave"}
			if err := d.Tick(t.Context()); !errors.Is(err, errAway) {
				t.Errorf("error %v when the waves cannot be listed", err)
			}
		})
	}
}

// The letter that is sent again names the step at which the mailbox stands, and no other.
func TestWhoStandsStillIsNudged(t *testing.T) {
	t.Parallel()
	still := now.Add(-2 * time.Hour)
	plans := []migration.Plan{{ID: "p1", Pass: 1, Shards: 9}}
	wave := migration.Wave{ID: "w", Start: still.Add(-time.Hour), Started: true, Looked: now.Add(-30 * time.Minute)}
	with := func(f func(*migration.Wave)) migration.Wave { w := wave; f(&w); return w }
	for _, tt := range []struct {
		name string
		wave migration.Wave
		box  migration.Mailbox
		want string
	}{
		{"planning", wave, migration.Mailbox{State: migration.Planning, Pass: 1, Changed: still}, "plan/w/m0/1//0/0/0"},
		{"before its first pass", wave, migration.Mailbox{State: migration.Planning, Epoch: 1, Changed: still}, "plan/w/m0/1//0/0/1"},
		{"before its next pass", wave, migration.Mailbox{State: migration.Planning, Pass: 1, Plans: plans, Changed: still}, "plan/w/m0/2//0/0/0"},
		{"in its next pass", wave, migration.Mailbox{State: migration.Planning, Pass: 2, Plans: plans, Changed: still}, "plan/w/m0/2//0/0/0"},
		{"copying", wave, migration.Mailbox{State: migration.Copying, Pass: 1, Plans: plans, Shard: 7, Changed: still}, "copy/w/m0/1/p1/7/0/0"},
		{"verifying", wave, migration.Mailbox{State: migration.Verifying, Pass: 1, Plans: plans, Shard: 9, Changed: still}, "verify/w/m0/1/p1/0/0/0"},
		{"cutover", wave, migration.Mailbox{State: migration.Cutover, Pass: 3, Plans: plans, Changed: still}, "plan/w/m0/4//0/0/0"},
		{"submitted", wave, migration.Mailbox{State: migration.Submitted, Changed: still}, "plan/w/m0/1//0/0/0"},
		{"submitted, and its start was long ago", with(func(w *migration.Wave) { w.Start, w.Spread = still.Add(-time.Hour), 3600 }),
			migration.Mailbox{State: migration.Submitted, Changed: still.Add(-24 * time.Hour)}, "plan/w/m0/1//0/0/0"},
		{"submitted, and its start may be still to come", with(func(w *migration.Wave) { w.Start, w.Spread = still.Add(-time.Hour), 3601 }),
			migration.Mailbox{State: migration.Submitted, Changed: still.Add(-24 * time.Hour)}, ""},
		{"synced", wave, migration.Mailbox{State: migration.Synced, Pass: 1, Changed: still}, ""},
		{"paused", wave, migration.Mailbox{State: migration.Paused, Was: migration.Copying, Pass: 1, Plans: plans, Changed: still}, ""},
		{"failed", wave, migration.Mailbox{State: migration.Failed, Pass: 1, Plans: plans, Changed: still}, ""},
		{"done", wave, migration.Mailbox{State: migration.Done, Pass: 1, Plans: plans, Changed: still}, ""},
		{"not still for long", wave, migration.Mailbox{State: migration.Planning, Pass: 1, Changed: still.Add(time.Second)}, ""},
		{"not started", with(func(w *migration.Wave) { w.Start, w.Started = now.Add(time.Hour), false }),
			migration.Mailbox{State: migration.Planning, Pass: 1, Changed: still}, ""},
		{"looked at lately", with(func(w *migration.Wave) { w.Looked = w.Looked.Add(time.Second) }),
			migration.Mailbox{State: migration.Planning, Pass: 1, Changed: still}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			d.add(t, tt.wave, tt.box)
			d.tick(t)
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			same(t, "messages", d.sent(), want)
			if w := d.wave(t, "w"); w.Looked.Equal(now) != (tt.wave.Started && now.Sub(tt.wave.Looked) >= 30*time.Minute) {
				t.Errorf("looked at %s", w.Looked)
			}
			d.clock.Advance(29 * time.Minute) // past the bus's memory of it
			d.tick(t)
			if again := d.sent(); tt.wave.Looked.Equal(wave.Looked) && again != nil {
				t.Errorf("again: %v", again)
			}
		})
	}
}

// Deltas end when the cutover begins, and there are none without one.
func TestWhoIsKeptFresh(t *testing.T) {
	t.Parallel()
	synced := migration.Mailbox{State: migration.Synced, Kind: migration.DeltaPass, Pass: 4, Epoch: 1, Changed: now.Add(-24 * time.Hour)}
	for _, tt := range []struct {
		name    string
		cutover time.Duration // zero: none
		box     func(*migration.Mailbox)
		want    []string
	}{
		{"synced a day ago", time.Second, func(*migration.Mailbox) {}, []string{"plan/w/m0/5//0/0/1"}},
		{"synced later", time.Second, func(b *migration.Mailbox) { b.Changed = b.Changed.Add(time.Second) }, nil},
		{"paused", time.Second, func(b *migration.Mailbox) { b.State = migration.Paused }, nil},
		{"no cutover", 0, func(*migration.Mailbox) {}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			w := migration.Wave{ID: "w", Start: now.AddDate(0, 0, -9), Started: true}
			if tt.cutover != 0 {
				w.Cutover = now.Add(tt.cutover)
			}
			b := synced
			tt.box(&b)
			d.add(t, w, b)
			d.tick(t)
			same(t, "messages", d.sent(), tt.want)
		})
	}
}

// When the mailboxes of a wave may begin is not known any more once its row is damaged.
func TestAWaveWhoseRowIsDamagedDoesNotBegin(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.add(t, migration.Wave{ID: "w", Start: now.Add(time.Hour)}, migration.Mailbox{State: migration.Submitted, Changed: now.Add(-24 * time.Hour)})
	r, err := d.Ledger.Waves.Row(t.Context(), "wave", "w")
	if err == nil {
		r.Body[len(r.Body)/2] ^= 1
		_, err = d.Ledger.Waves.Replace(t.Context(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Tick(t.Context()); !errors.Is(err, ledger.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
	same(t, "messages", d.sent(), nil)
}
