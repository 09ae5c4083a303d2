package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
)

// twice is a table behind a client that loses the first answer to every write and asks again.
type twice struct{ ledger.Table }

func (x twice) Insert(ctx context.Context, rows ...ledger.Row) error {
	if err := x.Table.Insert(ctx, rows...); err != nil {
		return err
	}
	return x.Table.Insert(ctx, rows...)
}

func (x twice) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	if out, err := x.Table.Replace(ctx, r); err != nil {
		return out, err
	}
	return x.Table.Replace(ctx, r)
}

func TestAWriteWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	l = &ledger.Ledger{Waves: twice{l.Waves}, Mailboxes: twice{l.Mailboxes}, Groups: twice{l.Groups}, Fences: twice{l.Fences}, Problems: twice{l.Problems}}
	m := ann("w1", migration.Submitted, start)
	of := ledger.GroupsOf{Mailbox: m.ID, Pass: 1, Plan: "p1"}
	g := &ledger.Group{Phase: ledger.Importing, Owner: "me"}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"add mailboxes", func() error { return l.AddMailboxes(t.Context(), []migration.Mailbox{m}) }},
		{"add wave", func() error { return l.AddWave(t.Context(), migration.Wave{ID: "w1", Mailboxes: 1}) }},
		{"claim", func() error { return l.Claim(t.Context(), m, m.Submitted) }},
		{"change wave", func() error {
			_, err := l.ChangeWave(t.Context(), "w1", func(w *migration.Wave) error { w.Started = true; return nil })
			return err
		}},
		{"change mailbox", func() error {
			_, err := l.ChangeMailbox(t.Context(), "w1", m.ID, func(m *migration.Mailbox) error { m.Pass++; return nil })
			return err
		}},
		{"report", func() error { return l.Report(t.Context(), "w1", ledger.Problem{Mailbox: m.ID, About: "x"}) }},
		{"raise fence", func() error { return l.RaiseFence(t.Context(), ledger.Fence{Account: "a", Until: start}) }},
		{"raise it again", func() error { return l.RaiseFence(t.Context(), ledger.Fence{Account: "a", Until: start.Add(1)}) }},
		{"last plan", func() error { return l.SetLastPlan(t.Context(), m) }},
		{"begin group", func() error { return l.BeginGroup(t.Context(), of, 0, g) }},
		{"hold group", func() error { return l.HoldsGroup(t.Context(), g) }},
		{"store group", func() error { g.Phase = ledger.Copied; return l.StoreGroup(t.Context(), g) }},
		{"hold it still", func() error { return l.HoldsGroup(t.Context(), g) }},
		{"store it again", func() error { g.Owner = "still me"; return l.StoreGroup(t.Context(), g) }},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	if m, err := l.Mailbox(t.Context(), "w1", m.ID); err != nil || m.Pass != 1 {
		t.Errorf("changed %d times, %v", m.Pass, err)
	}
	if err := l.AddWave(t.Context(), migration.Wave{ID: "w1", Mailboxes: 2}); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("another wave of the same ID: %v", err)
	}
	m.Pass = 7
	if err := l.AddMailboxes(t.Context(), []migration.Mailbox{m}); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("the mailbox again: %v", err)
	}
}

// A back-off that is told late does not shorten a longer one.
func TestAFenceIsOnlyRaised(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	if f, err := l.FenceOf(t.Context(), "a"); err != nil || f != (ledger.Fence{}) {
		t.Errorf("before any: %+v, %v", f, err)
	}
	for _, step := range []struct{ raise, want time.Duration }{{10, 10}, {5, 10}, {20, 20}, {20, 20}} {
		err := l.RaiseFence(t.Context(), ledger.Fence{Account: "a", Until: start.Add(step.raise), Why: step.raise.String()})
		if err != nil {
			t.Fatal(err)
		}
		if f, err := l.FenceOf(t.Context(), "a"); err != nil || !f.Until.Equal(start.Add(step.want)) || f.Why != step.want.String() {
			t.Errorf("raised to %s: %+v, %v", step.raise, f, err)
		}
	}
	if f, err := l.FenceOf(t.Context(), "b"); err != nil || f != (ledger.Fence{}) {
		t.Errorf("of another account: %+v, %v", f, err)
	}
}

// One bad row does not hide the others, and is not hidden itself. What it stands for does not begin.
func TestADamagedRowInAList(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	boxes := []migration.Mailbox{{ID: "m1", Wave: "w1", State: migration.Copying}, {ID: "m2", Wave: "w1", State: migration.Copying}}
	of := ledger.GroupsOf{Mailbox: "m1", Pass: 1, Plan: "p1"}
	err := errors.Join(l.AddMailboxes(t.Context(), boxes), l.AddWave(t.Context(), migration.Wave{ID: "w1", Name: "one"}), l.AddWave(t.Context(), migration.Wave{ID: "w2", Name: "two"}))
	for n := range 2 {
		err = errors.Join(err, l.BeginGroup(t.Context(), of, n, &ledger.Group{Phase: ledger.Copied, Owner: "me"}),
			l.Report(t.Context(), "w1", ledger.Problem{Mailbox: "m1", Pass: n, About: "x", Reason: "corrupt"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	damage(t, l.Mailboxes, "w1", "m1")
	damage(t, l.Waves, "wave", "w1")
	damage(t, l.Groups, "m1-0001-p1-00000", "00000")
	damage(t, l.Problems, "w1", "m1-0000-x")

	var states, names, reasons []string
	for m, err := range l.WaveMailboxes(t.Context(), "w1") {
		states = append(states, string(m.ID)+" "+string(m.State))
		if err != nil || (m.Problem != "") != (m.ID == "m1") {
			t.Errorf("mailbox %+v, %v", m, err)
		}
	}
	for w, err := range l.AllWaves(t.Context()) {
		names = append(names, string(w.ID)+" "+w.Name)
		if err != nil || w.Started != (w.ID == "w1") || w.Switched != (w.ID == "w1") {
			t.Errorf("wave %+v, %v", w, err)
		}
	}
	for p, err := range l.ProblemsOf(t.Context(), "w1", "m1") {
		reasons = append(reasons, p.Reason)
		if err != nil || p.Mailbox != "m1" {
			t.Errorf("problem %+v, %v", p, err)
		}
	}
	for what, got := range map[string]string{
		"m1 failed, m2 copying": strings.Join(states, ", "),
		"w1 its row in the ledger is damaged; submit its mailboxes again, w2 two": strings.Join(names, ", "),
		"damaged problem, corrupt": strings.Join(reasons, ", "),
	} {
		if got != what {
			t.Errorf("got %s, want %s", got, what)
		}
	}
	groups, err := l.GroupList(t.Context(), of)
	if err != nil || len(groups) != 2 || !groups[0].Damaged || groups[0].Phase != ledger.Importing || groups[1].Damaged || groups[1].Phase != ledger.Copied {
		t.Fatalf("groups %+v, %v", groups, err)
	}
	if err := l.StoreGroup(t.Context(), groups[0]); err != nil || groups[0].Damaged {
		t.Errorf("a damaged group cannot be taken over: %v", err)
	}
}

func TestALostRaceIsRunAgain(t *testing.T) {
	t.Parallel()
	for lost, want := range map[int]error{19: nil, 20: ledger.ErrConflict} {
		l := ledger.NewMemory()
		submit(t, l, ann("w1", migration.Submitted, start))
		races := &racing{Table: l.Mailboxes, lost: lost}
		l.Mailboxes = races
		got, err := l.ChangeMailbox(t.Context(), "w1", ann("", "", start).ID, func(m *migration.Mailbox) error { m.Pass++; return nil })
		if !errors.Is(err, want) || err == nil && got.Pass != lost+1 {
			t.Errorf("%d races lost: pass %d, %v", lost, got.Pass, err)
		}
	}
}

// racing lets another writer be first some times.
type racing struct {
	ledger.Table
	lost int
}

func (r *racing) Replace(ctx context.Context, row ledger.Row) (ledger.Row, error) {
	if r.lost > 0 {
		r.lost--
		l := ledger.Ledger{Mailboxes: r.Table}
		_, err := l.ChangeMailbox(ctx, migration.WaveID(row.Partition), migration.MailboxID(row.Key), func(m *migration.Mailbox) error {
			m.Pass, m.Copied = m.Pass+1, r.lost
			return nil
		})
		if err != nil {
			return row, err
		}
	}
	return r.Table.Replace(ctx, row)
}

// An error of the change leaves the row as it is.
func TestAChangeThatIsRefused(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	m := ann("w1", migration.Submitted, start)
	submit(t, l, m)
	_, err := l.ChangeMailbox(t.Context(), "w1", m.ID, func(m *migration.Mailbox) error { m.Pass = 9; return errAway })
	if now, _ := l.Mailbox(t.Context(), "w1", m.ID); !errors.Is(err, errAway) || now.Pass != 0 {
		t.Errorf("error %v, pass %d", err, now.Pass)
	}
	for _, at := range [][2]string{{"w2", string(m.ID)}, {"w1", "m9"}} {
		_, err := l.ChangeMailbox(t.Context(), migration.WaveID(at[0]), migration.MailboxID(at[1]), func(*migration.Mailbox) error { return nil })
		if !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("of %v, which is not there: %v", at, err)
		}
	}
}

func TestTheLastPlanIsTheOneThatCounts(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	if p, err := l.LastPlan(t.Context(), "m1"); err != nil || p != (ledger.LastPlan{}) {
		t.Errorf("before any: %+v, %v", p, err)
	}
	m := migration.Mailbox{ID: "m1", Wave: "w1"}
	for pass := 1; pass <= 2; pass++ {
		m.Plans = append(m.Plans, migration.Plan{ID: migration.PlanID("p" + string(rune('0'+pass))), Pass: pass, Shards: 3})
		if err := l.SetLastPlan(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := l.LastPlan(t.Context(), "m1"); err != nil || p != (ledger.LastPlan{Wave: "w1", Pass: 2, Plan: "p2", Shards: 3}) {
		t.Errorf("last plan %+v, %v", p, err)
	}
}

// delayed is a table whose writes take a time of the test's clock.
type delayed struct {
	ledger.Table
	clock *clockwork.FakeClock
	takes []time.Duration
}

func (d *delayed) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	d.clock.Advance(d.takes[0])
	d.takes = d.takes[1:]
	return d.Table.Replace(ctx, r)
}

// The doubt is counted from a moment at which the group was ours: a write that took long is done again.
func TestATakeOverThatTakesLong(t *testing.T) {
	t.Parallel()
	const doubt = 80 * time.Second
	for _, tt := range []struct {
		takes []time.Duration
		since time.Duration
	}{
		{[]time.Duration{doubt / 4}, 0},
		{[]time.Duration{doubt/4 + 1, time.Second}, doubt/4 + 1},
		{[]time.Duration{time.Hour, time.Minute, 0}, time.Hour + time.Minute},
	} {
		l, clock := ledger.NewMemory(), clockwork.NewFakeClockAt(start)
		g := &ledger.Group{Phase: ledger.Importing, Owner: "another"}
		if err := l.BeginGroup(t.Context(), ledger.GroupsOf{Mailbox: "m1", Pass: 1, Plan: "p1"}, 0, g); err != nil {
			t.Fatal(err)
		}
		table := &delayed{l.Groups, clock, tt.takes}
		l.Groups = table
		g.Owner = "me"
		if err := l.TakeOver(t.Context(), g, clock, doubt); err != nil || g.Phase != ledger.Settling || !g.Since.Equal(start.Add(tt.since)) || len(table.takes) > 0 {
			t.Errorf("writes of %v: %s since %s, %d left, %v", tt.takes, g.Phase, g.Since.Sub(start), len(table.takes), err)
		}
	}
}

// However long what a problem is about, it is one row, and not another's.
func TestALongProblem(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	for _, about := range []string{strings.Repeat("x", 600), strings.Repeat("x", 601), "", strings.Repeat("x", 600)} {
		if err := l.Report(t.Context(), "w1", ledger.Problem{Mailbox: "m1", Pass: 1, About: about}); err != nil {
			t.Errorf("about %d characters: %v", len(about), err)
		}
	}
	n := 0
	for _, err := range l.ProblemsOf(t.Context(), "w1", "m1") {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 3 {
		t.Errorf("%d problems, want 3", n)
	}
}

// Rows outlive the version that wrote them: what stands in a table today must be read tomorrow.
func TestARowIsTheGoldenOne(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	if err := l.RaiseFence(t.Context(), ledger.Fence{Account: "a", Until: start, Why: "\u0080 \uffff \U00010000 <&>"}); err != nil {
		t.Fatal(err)
	}
	r, err := l.Fences.Row(t.Context(), "fence", "a")
	const want = `{"sum":"0ec20be4fe6702ff","row":{"account":"a","until":"2026-12-01T20:00:00Z","why":"\u0080 \uffff \ud800\udc00 \u003c\u0026\u003e"}}`
	if err != nil || string(r.Body) != want {
		t.Errorf("got  %s\nwant %s, %v", r.Body, want, err)
	}
}
