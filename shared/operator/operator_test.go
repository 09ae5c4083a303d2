package operator_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// far is Table storage that takes as long to answer as Azure's. Its time is a test's.
type far struct{ ledger.Table }

func (f far) Row(ctx context.Context, partition, key string) (ledger.Row, error) {
	time.Sleep(10 * time.Millisecond)
	return f.Table.Row(ctx, partition, key)
}

func (f far) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	time.Sleep(10 * time.Millisecond)
	return f.Table.Replace(ctx, r)
}

// wave writes a wave of n mailboxes that have failed.
func wave(t *testing.T, l *ledger.Ledger, n int) (boxes []migration.Mailbox) {
	t.Helper()
	now := time.Now()
	for i := range n {
		boxes = append(boxes, migration.Mailbox{ID: migration.MailboxID(fmt.Sprintf("m%05d", i)), Wave: "w1", State: migration.Failed, Pass: 1,
			Source: fmt.Sprintf("u%d@old.example", i), Target: fmt.Sprintf("u%d@new.example", i), Submitted: now, Changed: now, Finished: now})
	}
	err := errors.Join(l.AddMailboxes(t.Context(), boxes), l.AddWave(t.Context(), migration.Wave{ID: "w1", Started: true, Submitted: now}))
	if err != nil {
		t.Fatal(err)
	}
	return boxes
}

// A wave of 100,000 mailboxes must be over before Azure's front end gives up; this one is a hundredth of it.
func TestALargeWaveIsQuick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ledger.NewMemory()
		boxes := wave(t, l, 1000)
		l.Mailboxes, l.Waves = far{l.Mailboxes}, far{l.Waves}
		post := &bus.Memory{Clock: clockwork.NewRealClock()}
		o := operator.Operator{Ledger: l, Bus: post, Clock: post.Clock, Log: slog.New(slog.DiscardHandler)}
		for _, a := range []operator.Action{operator.Retry, operator.Pause, operator.Resume, operator.Cancel} {
			began := time.Now()
			changed, err := o.Act(t.Context(), a, "w1", "")
			if err != nil || len(changed) != len(boxes) || !slices.IsSorted(changed) {
				t.Errorf("%s: %d changed, %v", a, len(changed), err)
			}
			if took := time.Since(began); took > 230*time.Second/100 {
				t.Errorf("%s took %s", a, took)
			}
		}
		sent := 0
		for _, ok := post.Take(time.Now()); ok; _, ok = post.Take(time.Now()) {
			sent++
		}
		if sent != 2*len(boxes) { // retry and resume
			t.Errorf("%d messages", sent)
		}
	})
}

func TestAMailboxThatAnotherWaveHasDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	boxes := wave(t, l, 3)
	other := boxes[1]
	other.Wave, other.State = "w2", migration.Copying
	err := errors.Join(l.AddMailboxes(t.Context(), []migration.Mailbox{other}), l.AddWave(t.Context(), migration.Wave{ID: "w2"}),
		l.Claim(t.Context(), other, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	post := &bus.Memory{Clock: clockwork.NewRealClock()}
	o := operator.Operator{Ledger: l, Bus: post, Clock: post.Clock, Log: slog.New(slog.DiscardHandler)}

	changed, err := o.Act(t.Context(), operator.Retry, "w1", "")
	refused, ok := errors.AsType[*operator.Refused](err)
	if !ok || !slices.Equal(refused.Mailboxes, []migration.MailboxID{boxes[1].ID}) || refused.Because.Wave != "w2" {
		t.Errorf("error %v, want that %s is in w2", err, boxes[1].ID)
	}
	if want := []migration.MailboxID{boxes[0].ID, boxes[2].ID}; !slices.Equal(changed, want) {
		t.Errorf("changed %v, want %v", changed, want)
	}

	changed, err = o.Act(t.Context(), operator.Retry, "w1", boxes[1].ID)
	if _, ok := errors.AsType[*ledger.Claimed](err); !ok || len(changed) > 0 {
		t.Errorf("alone: changed %v, error %v", changed, err)
	}
}

// meanwhile lets something happen before the next row is replaced.
type meanwhile struct {
	ledger.Table
	do func()
}

func (m *meanwhile) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	if do := m.do; do != nil && !strings.HasPrefix(r.Partition, "claim-") {
		m.do = nil
		do()
	}
	return m.Table.Replace(ctx, r)
}

// Of two people who resume a mailbox at once, the later one does not begin anew what the other set going.
func TestTwoResumeAtOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.Begin()
	s.Until(migration.CopyQueue)
	resume := func() {
		t.Helper()
		if _, err := s.Operator.Act(t.Context(), operator.Resume, s.Wave, s.Box().ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Operator.Act(t.Context(), operator.Pause, s.Wave, s.Box().ID); err != nil {
		t.Fatal(err)
	}
	s.Ledger.Mailboxes = &meanwhile{s.Ledger.Mailboxes, func() {
		resume()
		s.Bus.Put(s.Until(migration.CopyQueue))
	}}
	resume()
	s.Clock.Advance(time.Hour)
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Pass != 2 {
		t.Errorf("%s by pass %d", b.State, b.Pass)
	}
}
