package operator_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
)

var (
	now     = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	errAway = errors.New("no route to host")
)

// desk is an operator over one mailbox of a wave.
type desk struct {
	operator.Operator
	post *bus.Memory
	id   migration.MailboxID
}

func newDesk(t *testing.T, w migration.Wave, b migration.Mailbox) *desk {
	t.Helper()
	clock := clockwork.NewFakeClockAt(now)
	d := &desk{post: &bus.Memory{Clock: clock}, id: "m1"}
	d.Operator = operator.Operator{Ledger: ledger.NewMemory(), Bus: d.post, Clock: clock, Log: slog.New(slog.DiscardHandler)}
	w.ID, b.Wave, b.ID, b.Source, b.Target = "w", "w", d.id, "ann@old.example", "ann@new.example"
	err := errors.Join(d.Ledger.AddMailboxes(t.Context(), []migration.Mailbox{b}), d.Ledger.AddWave(t.Context(), w))
	if !b.State.Over() {
		err = errors.Join(err, d.Ledger.Claim(t.Context(), b, now))
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) box(t *testing.T) migration.Mailbox {
	t.Helper()
	b, err := d.Ledger.Mailbox(t.Context(), "w", d.id)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sent is the ID of the only message on the bus, "" if there is none.
func (d *desk) sent(t *testing.T) string {
	t.Helper()
	l, ok := d.post.Take(now)
	if !ok {
		return ""
	}
	if _, more := d.post.Take(now); more {
		t.Error("more than one message")
	}
	return l.Message.ID(l.Queue)
}

// Every action in every state: where the mailbox is afterwards. Whatever is not listed does nothing.
func TestWhatAnActionDoes(t *testing.T) {
	t.Parallel()
	type step struct {
		a    operator.Action
		from migration.State
	}
	to := map[step]migration.State{
		{operator.Retry, migration.Failed}:  migration.Planning,
		{operator.Resume, migration.Paused}: migration.Planning,
		{operator.Delta, migration.Synced}:  migration.Synced,
		{operator.Cancel, migration.Paused}: migration.Cancelled,
		{operator.Cancel, migration.Failed}: migration.Cancelled,
	}
	for _, s := range []migration.State{migration.Submitted, migration.Planning, migration.Copying, migration.Verifying, migration.Synced, migration.Cutover} {
		to[step{operator.Pause, s}], to[step{operator.Cancel, s}] = migration.Paused, migration.Cancelled
	}
	for _, a := range []operator.Action{operator.Retry, operator.Pause, operator.Resume, operator.Cancel, operator.Delta} {
		if !operator.Known(a) {
			t.Errorf("%s is not known", a)
		}
		for _, from := range migration.States {
			t.Run(string(a)+" when "+string(from), func(t *testing.T) {
				t.Parallel()
				d := newDesk(t, migration.Wave{Started: true}, migration.Mailbox{State: from, Pass: 3, Plans: []migration.Plan{{ID: "p", Pass: 3}}, Problem: "why"})
				want, does := to[step{a, from}]
				if !does {
					want = from
				}
				again := a == operator.Delta || a == operator.Retry || a == operator.Resume // sends once more, see below
				for n := range 2 {
					changed, err := d.Act(t.Context(), a, "w", d.id)
					if err != nil || changed == nil || (len(changed) == 1) != (does && (n == 0 || again)) {
						t.Errorf("changed %v, %v", changed, err)
					}
				}
				b := d.box(t)
				if b.State != want {
					t.Errorf("%s, want %s", b.State, want)
				}
				message := map[operator.Action]string{operator.Retry: "plan/w/m1/4//0/0/1", operator.Resume: "plan/w/m1/4//0/0/1", operator.Delta: "plan/w/m1/4//0/0/0"}[a]
				if !does {
					message = ""
				}
				if l, ok := d.post.Take(now); ok != (message != "") || ok && l.Message.ID(l.Queue) != message {
					t.Errorf("message %+v, want %q", l, message)
				}
				other := migration.Mailbox{ID: "m2", Wave: "w2", Source: b.Source, Target: b.Target, Submitted: now.Add(time.Hour)}
				_, held := errors.AsType[*ledger.Claimed](d.Ledger.Claim(t.Context(), other, now))
				if held == b.State.Over() {
					t.Errorf("%s, and its claim is held: %t", b.State, held)
				}
			})
		}
	}
	if operator.Known("remove") {
		t.Error("an action that does not exist is known")
	}
}

// A mailbox goes on where it was held up.
func TestWhereAMailboxGoesOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		started bool
		was     migration.State
		pass    int
		want    migration.State
		message string
	}{
		{"before its wave began", false, migration.Submitted, 0, migration.Submitted, ""},
		{"after its wave began", true, migration.Submitted, 0, migration.Submitted, "plan/w/m1/1//0/0/1"},
		{"planning", true, migration.Planning, 3, migration.Planning, "plan/w/m1/3//0/0/1"}, // the pass was not planned
		{"copying", true, migration.Copying, 2, migration.Planning, "plan/w/m1/3//0/0/1"},
		{"verifying", true, migration.Verifying, 2, migration.Planning, "plan/w/m1/3//0/0/1"},
		{"synced: it waits for its delta or cutover", true, migration.Synced, 2, migration.Synced, ""},
		{"moved to cutover", true, migration.Cutover, 2, migration.Cutover, "plan/w/m1/3//0/0/1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, migration.Wave{Started: tt.started}, migration.Mailbox{State: tt.was, Pass: tt.pass, Plans: []migration.Plan{{ID: "p", Pass: 2}}, Tries: 2, Stalls: 3,
				Problem: "why", Wait: migration.Wait{Why: "throttled"}})
			for _, a := range []operator.Action{operator.Pause, operator.Resume} {
				if changed, err := d.Act(t.Context(), a, "w", ""); err != nil || !slices.Equal(changed, []migration.MailboxID{d.id}) {
					t.Errorf("%s: changed %v, %v", a, changed, err)
				}
			}
			b := d.box(t)
			if b.State != tt.want || b.Epoch != 1 || b.Was != "" || b.Problem != "" || b.Tries != 0 || b.Stalls != 0 || b.Wait != (migration.Wait{}) {
				t.Errorf("went on as %+v, want %s", b, tt.want)
			}
			if got := d.sent(t); got != tt.message {
				t.Errorf("message %q, want %q", got, tt.message)
			}
		})
	}
}

// A process that took a mailbox back may have been killed before it sent for it. Whoever asks again sends for it again, until
// its pass is planned.
func TestAskedAgain(t *testing.T) {
	t.Parallel()
	two := []migration.Plan{{ID: "p1", Pass: 1}, {ID: "p2", Pass: 2}}
	for _, tt := range []struct {
		name    string
		box     migration.Mailbox
		started bool
		want    string
	}{
		{"it had failed while it was copied", migration.Mailbox{State: migration.Planning, Epoch: 1, Pass: 2, Plans: two}, true, "plan/w/m1/3//0/0/1"},
		{"it had failed while it was planned, or is being planned", migration.Mailbox{State: migration.Planning, Epoch: 1, Pass: 3, Plans: two}, true, "plan/w/m1/3//0/0/1"},
		{"it had not begun", migration.Mailbox{State: migration.Submitted, Epoch: 2}, true, "plan/w/m1/1//0/0/2"},
		{"it begins with its wave", migration.Mailbox{State: migration.Submitted, Epoch: 2}, false, ""},
		{"its cutover had begun", migration.Mailbox{State: migration.Cutover, Epoch: 1, Pass: 2, Plans: two}, true, "plan/w/m1/3//0/0/1"},
		{"it has gone on", migration.Mailbox{State: migration.Copying, Epoch: 1, Pass: 2, Plans: two}, true, ""},
		{"nobody had taken it back", migration.Mailbox{State: migration.Planning, Pass: 2, Plans: two}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, a := range []operator.Action{operator.Retry, operator.Resume} {
				d := newDesk(t, migration.Wave{Started: tt.started}, tt.box)
				before := d.box(t)
				changed, err := d.Act(t.Context(), a, "w", "")
				if got := d.sent(t); err != nil || got != tt.want || (len(changed) > 0) != (tt.box.State != migration.Copying && tt.box.Epoch > 0) {
					t.Errorf("%s sent %q, want %q; changed %v, %v", a, got, tt.want, changed, err)
				}
				if b := d.box(t); b.State != before.State || b.Epoch != before.Epoch {
					t.Errorf("%s made it %+v", a, b)
				}
			}
		})
	}
}

// What a person asks for is told to have failed when it did, and the mailboxes that were acted on are named.
func TestAnActionThatFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		a       operator.Action
		from    migration.State
		off     func(*desk)
		changed int
	}{
		{"the bus is away", operator.Retry, migration.Failed, func(d *desk) { d.Bus = nowhere{} }, 1},
		{"the wave cannot be read", operator.Retry, migration.Failed, func(d *desk) { d.Ledger.Waves = unread{} }, 0},
		{"a mailbox cannot be taken back", operator.Retry, migration.Failed, noStore, 0},
		{"a mailbox cannot be paused", operator.Pause, migration.Copying, noStore, 0},
		{"a mailbox cannot be cancelled", operator.Cancel, migration.Copying, noStore, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, id := range []migration.MailboxID{"", "m1"} {
				d := newDesk(t, migration.Wave{Started: true}, migration.Mailbox{State: tt.from, Pass: 1})
				tt.off(d)
				changed, err := d.Act(t.Context(), tt.a, "w", id)
				if !errors.Is(err, errAway) || len(changed) != tt.changed {
					t.Errorf("mailbox %q: changed %v, %v", id, changed, err)
				}
			}
		})
	}
	d := newDesk(t, migration.Wave{}, migration.Mailbox{State: migration.Failed})
	for _, at := range [][2]string{{"w", "m2"}, {"w2", ""}, {"w2", "m1"}} {
		changed, err := d.Act(t.Context(), operator.Retry, migration.WaveID(at[0]), migration.MailboxID(at[1]))
		if !errors.Is(err, ledger.ErrNotFound) || changed == nil || len(changed) > 0 {
			t.Errorf("%v, which is not there: changed %v, %v", at, changed, err)
		}
	}
}

func noStore(d *desk) { d.Ledger.Mailboxes = unwritten{d.Ledger.Mailboxes} }

type (
	nowhere   struct{}
	unread    struct{ ledger.Table }
	unwritten struct{ ledger.Table }
)

func (nowhere) Send(context.Context, ...bus.Letter) error              { return errAway }
func (unread) Row(context.Context, string, string) (ledger.Row, error) { return ledger.Row{}, errAway }
func (unwritten) Replace(context.Context, ledger.Row) (ledger.Row, error) {
	return ledger.Row{}, errAway
}

// overtaken lets a stage or another person change the mailbox after it was read for the action.
type overtaken struct {
	ledger.Table
	state migration.State
	left  int // how often the row is read before
}

func (o *overtaken) Row(ctx context.Context, partition, key string) (ledger.Row, error) {
	if o.left--; o.left == 0 {
		l := ledger.Ledger{Mailboxes: o.Table}
		_, err := l.ChangeMailbox(ctx, migration.WaveID(partition), migration.MailboxID(key), func(b *migration.Mailbox) error {
			b.State = o.state
			return nil
		})
		if err != nil {
			return ledger.Row{}, err
		}
	}
	return o.Table.Row(ctx, partition, key)
}

// What the mailbox became meanwhile is left alone.
func TestAMailboxThatWentOnMeanwhile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a               operator.Action
		from, meanwhile migration.State
	}{
		{operator.Pause, migration.Verifying, migration.Done},
		{operator.Cancel, migration.Verifying, migration.Done},
		{operator.Pause, migration.Copying, migration.Failed},
	} {
		d := newDesk(t, migration.Wave{Started: true}, migration.Mailbox{State: tt.from, Pass: 1})
		d.Ledger.Mailboxes = &overtaken{d.Ledger.Mailboxes, tt.meanwhile, 2}
		if _, err := d.Act(t.Context(), tt.a, "w", d.id); err != nil {
			t.Errorf("%s: %v", tt.a, err)
		}
		if b := d.box(t); b.State != tt.meanwhile || d.sent(t) != "" {
			t.Errorf("%s of what became %s meanwhile made it %s", tt.a, tt.meanwhile, b.State)
		}
	}
}

// sticky refuses to store some mailboxes, and cannot list them to the end if there is an end.
type sticky struct {
	ledger.Table
	keys []string
	end  int // after how many rows the list breaks off; 0: it does not
}

func (s sticky) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	if slices.Contains(s.keys, r.Key) {
		return r, errAway
	}
	return s.Table.Replace(ctx, r)
}

func (s sticky) Rows(ctx context.Context, partition, prefix string) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		n := 0
		for r, err := range s.Table.Rows(ctx, partition, prefix) {
			if n++; n == s.end {
				yield(ledger.Row{}, errAway)
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// A mailbox whose state was changed gets its message, whatever happens to the others; and the failure is told.
func TestAWaveOfWhichSomeCannotBeStored(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		boxes   int
		table   sticky
		changed int
	}{
		{"the first of two", 2, sticky{keys: []string{"m00000"}}, 1},
		{"the last of two", 2, sticky{keys: []string{"m00001"}}, 1},
		{"one of the first 64", 100, sticky{keys: []string{"m00007"}}, 63},
		{"one of the others", 100, sticky{keys: []string{"m00077"}}, 99},
		{"the list ends early", 100, sticky{end: 80}, 64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := ledger.NewMemory()
			wave(t, l, tt.boxes)
			tt.table.Table = l.Mailboxes
			l.Mailboxes = tt.table
			post := &bus.Memory{Clock: clockwork.NewFakeClockAt(now)}
			o := operator.Operator{Ledger: l, Bus: post, Clock: post.Clock, Log: slog.New(slog.DiscardHandler)}
			changed, err := o.Act(t.Context(), operator.Retry, "w1", "")
			if !errors.Is(err, errAway) || len(changed) != tt.changed {
				t.Errorf("changed %d, want %d, %v", len(changed), tt.changed, err)
			}
			var sent []migration.MailboxID
			for letter, ok := post.Take(now); ok; letter, ok = post.Take(now) {
				sent = append(sent, letter.Message.Mailbox)
			}
			if !slices.Equal(sent, changed) {
				t.Errorf("messages for %v, changed %v", sent, changed)
			}
		})
	}
}
