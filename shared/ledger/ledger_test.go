package ledger_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

func TestRowsOfAllLanguagesComeBack(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	want := ledger.Problem{Mailbox: "m1", Pass: 1, About: "k", Reason: "folder renamed", Folder: "Grüße / 日本 / 😀", Detail: `<"&\u2028>`}
	for range 2 { // the same finding is one row
		if err := l.Report(t.Context(), "w1", want); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for got, err := range l.ProblemsOf(t.Context(), "w1", "m1") {
		if err != nil || got != want {
			t.Errorf("got %+v, err %v", got, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d problems", n)
	}
}

func TestADamagedRowIsNeverTaken(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(string) string{
		"a changed value":    func(s string) string { return strings.Replace(s, `"pass":3`, `"pass":4`, 1) },
		"a changed checksum": func(s string) string { return strings.Replace(s, `"sum":"`, `"sum":"0`, 1) },
		"a cut end":          func(s string) string { return s[:len(s)-3] },
		"nothing":            func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := ledger.NewMemory()
			if err := l.AddMailboxes(t.Context(), []migration.Mailbox{{ID: "m1", Wave: "w1", Pass: 3}}); err != nil {
				t.Fatal(err)
			}
			r, err := l.Mailboxes.Row(t.Context(), "w1", "m1")
			if err != nil {
				t.Fatal(err)
			}
			if r.Body = []byte(damage(string(r.Body))); len(r.Body) == 0 {
				r.Body = []byte(" ")
			}
			if _, err := l.Mailboxes.Replace(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Mailbox(t.Context(), "w1", "m1"); !errors.Is(err, ledger.ErrCorrupt) {
				t.Errorf("err = %v, want ErrCorrupt", err)
			}
		})
	}
}

func TestAMailboxIsInOneActiveWave(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	add := func(w migration.WaveID, source, target string, at time.Time) migration.Mailbox {
		m := migration.Mailbox{ID: migration.MailboxFor(source, target), Wave: w, Source: source, Target: target, Submitted: at, State: migration.Submitted}
		if err := l.AddMailboxes(t.Context(), []migration.Mailbox{m}); err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := add("w1", "a@x", "b@y", now)
	if err := l.Claim(t.Context(), first, first.Submitted); err != nil {
		t.Fatal(err)
	}
	if err := l.AddWave(t.Context(), migration.Wave{ID: "w1"}); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]migration.Mailbox{
		"the same pair":    add("w2", "A@x", "b@Y", now.Add(time.Hour)),
		"the source again": add("w3", "a@x", "c@y", now.Add(time.Hour)),
		"the target again": add("w4", "d@x", "b@y", now.Add(time.Hour)),
	} {
		taken, ok := errors.AsType[*ledger.Claimed](l.Claim(t.Context(), m, m.Submitted))
		if !ok || taken.Wave != "w1" {
			t.Errorf("%s: not refused for wave w1: %v", name, taken)
		}
	}
	if err := l.Claim(t.Context(), first, first.Submitted); err != nil {
		t.Errorf("claiming twice: %v", err)
	}
	if err := l.Release(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	again := add("w5", "a@x", "b@y", now.Add(2*time.Hour))
	if err := l.Claim(t.Context(), again, again.Submitted); err != nil {
		t.Errorf("after release: %v", err)
	}
	// w5 never becomes a wave: later its claim is taken over.
	later := add("w6", "a@x", "b@y", now.Add(3*time.Hour))
	if err := l.Claim(t.Context(), later, later.Submitted); err != nil {
		t.Errorf("claim of a wave that never was: %v", err)
	}
	// Nor does w6; a mailbox that was submitted before it and has failed gets the claim back.
	if err := l.Claim(t.Context(), first, later.Submitted.Add(time.Minute)); err == nil {
		t.Error("the claim of a submission under way is taken")
	}
	if err := l.Claim(t.Context(), first, later.Submitted.Add(time.Hour)); err != nil {
		t.Errorf("claim of an older mailbox: %v", err)
	}
	// Who saw the claim before it was made again cannot take it.
	at := "claim-source-" + mailbox.Fingerprint("a@x")
	seen, err := l.Mailboxes.Row(t.Context(), at, "claim")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Claim(t.Context(), first, now); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Mailboxes.Replace(t.Context(), seen); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("taken after it was made again: %v", err)
	}
}

func TestAGroupBelongsToOneWorker(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	of := ledger.GroupsOf{Mailbox: "m1", Pass: 1, Plan: "p1"}
	mine := &ledger.Group{Phase: ledger.Importing, Owner: "me"}
	if err := l.BeginGroup(t.Context(), of, 0, mine); err != nil {
		t.Fatal(err)
	}
	if err := l.BeginGroup(t.Context(), of, 0, &ledger.Group{Phase: ledger.Importing, Owner: "other"}); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("begin of another: %v, want ErrExists", err)
	}
	if err := l.HoldsGroup(t.Context(), mine); err != nil {
		t.Errorf("mine: %v", err)
	}
	groups, err := l.GroupList(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	groups[0].Owner, groups[0].Phase = "other", ledger.Settling
	if err := l.StoreGroup(t.Context(), groups[0]); err != nil {
		t.Fatal(err)
	}
	if err := l.HoldsGroup(t.Context(), mine); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("mine after another took it: %v, want ErrConflict", err)
	}
	mine.Phase = ledger.Copied
	if err := l.StoreGroup(t.Context(), mine); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("store after another took it: %v, want ErrConflict", err)
	}
}

// What a damaged wave keeps waiting can be submitted again, as its name says; what is at work in it cannot.
func TestAMailboxOfADamagedWave(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	old := migration.Mailbox{ID: "m1", Wave: "w1", Source: "a@x", Target: "b@y", Submitted: now, State: migration.Submitted}
	err := errors.Join(l.AddMailboxes(t.Context(), []migration.Mailbox{old}), l.Claim(t.Context(), old, now), l.AddWave(t.Context(), migration.Wave{ID: "w1"}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Waves.Row(t.Context(), "wave", "w1")
	if err != nil {
		t.Fatal(err)
	}
	r.Body = []byte(`{"sum":"","row":{}}`)
	if _, err := l.Waves.Replace(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	again := old
	again.Wave = "w2"
	for _, step := range []struct {
		state migration.State
		free  bool
	}{{migration.Copying, false}, {migration.Paused, false}, {migration.Synced, true}} {
		if _, err := l.ChangeMailbox(t.Context(), "w1", "m1", func(m *migration.Mailbox) error { m.State = step.state; return nil }); err != nil {
			t.Fatal(err)
		}
		err := l.Claim(t.Context(), again, now.Add(time.Hour))
		if _, taken := errors.AsType[*ledger.Claimed](err); taken == step.free || err != nil && !taken {
			t.Errorf("%s: %v", step.state, err)
		}
	}
}
