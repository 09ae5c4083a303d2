package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline"
)

var errAway = errors.New("GET https://store.example/?sig=secret: no route to host")

type (
	awayTable struct{ ledger.Table }
	awayStore struct{ blob.Store }
	awayBus   struct{}
)

func (awayTable) Row(context.Context, string, string) (ledger.Row, error) {
	return ledger.Row{}, errAway
}
func (awayTable) Insert(context.Context, ...ledger.Row) error { return errAway }
func (awayTable) Delete(context.Context, ledger.Row) error    { return errAway }
func (awayTable) Rows(context.Context, string, string) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) { yield(ledger.Row{}, errAway) }
}
func (awayStore) Open(context.Context, string, int64) (io.ReadCloser, int64, error) {
	return nil, 0, errAway
}
func (awayBus) Send(context.Context, ...bus.Letter) error { return errAway }

// Whoever asks in vain reads why, and nothing of what stands behind it.
func TestWhatCannotBeAnswered(t *testing.T) {
	t.Parallel()
	const again = "the ledger cannot be reached, try again"
	batch := "source,target\nbob@old.example,bob@new.example\n"
	for _, tt := range []struct {
		name, method, path, body string // in the path, W is a wave and M its mailbox
		off                      func(*testing.T, *app)
		status                   int
		want                     string
	}{
		{"no such part", http.MethodGet, "W/mailboxes/M/else", "", nil, 404, "no such part of a mailbox; there are receipt and leaves"},
		{"no such wave", http.MethodGet, "w9", "", nil, 404, "there is no such wave"},
		{"no such mailbox", http.MethodGet, "W/mailboxes/m9", "", nil, 404, "there is no such mailbox in this wave"},
		{"no such mailbox's receipt", http.MethodGet, "W/mailboxes/m9/receipt", "", nil, 404, "there is no such mailbox in this wave"},
		{"no such action", http.MethodPost, "W/remove", "", nil, 404, "no such action; there are retry, pause, resume, cancel and delta"},
		{"nothing to act on", http.MethodPost, "w9/retry", "", nil, 404, "there is no such wave or mailbox"},
		{"no receipt yet", http.MethodGet, "W/mailboxes/M/receipt", "", func(t *testing.T, a *app) { change(t, a, func(b *migration.Mailbox) { b.Receipt = "" }) },
			404, "the mailbox has no receipt: it is done, or RECEIPT_KEY is not set"},
		{"a receipt that was removed", http.MethodGet, "W/mailboxes/M/leaves", "", func(_ *testing.T, a *app) { a.Pipeline.Receipts = &blob.Memory{} },
			404, "the receipt was removed from the storage"},
		{"receipts away", http.MethodGet, "W/mailboxes/M/receipt", "", func(_ *testing.T, a *app) { a.Pipeline.Receipts = awayStore{} },
			503, "the storage cannot be reached, try again"},
		{"waves away: list", http.MethodGet, "", "", func(_ *testing.T, a *app) { a.Ledger.Waves = awayTable{} }, 503, again},
		{"waves away: status", http.MethodGet, "W", "", func(_ *testing.T, a *app) { a.Ledger.Waves = awayTable{} }, 503, again},
		{"waves away: action", http.MethodPost, "W/retry", "", func(_ *testing.T, a *app) { a.Ledger.Waves = awayTable{} }, 503, again},
		{"mailboxes away: status", http.MethodGet, "W", "", func(_ *testing.T, a *app) { a.Ledger.Mailboxes = awayTable{} }, 503, again},
		{"mailboxes away: one", http.MethodGet, "W/mailboxes/M", "", func(_ *testing.T, a *app) { a.Ledger.Mailboxes = awayTable{} }, 503, again},
		{"mailboxes away: receipt", http.MethodGet, "W/mailboxes/M/receipt", "", func(_ *testing.T, a *app) { a.Ledger.Mailboxes = awayTable{} }, 503, again},
		{"mailboxes away: action", http.MethodPost, "W/mailboxes/M/retry", "", func(_ *testing.T, a *app) { a.Ledger.Mailboxes = awayTable{} }, 503, again},
		{"problems away", http.MethodGet, "W?problems=true", "", func(_ *testing.T, a *app) { a.Ledger.Problems = awayTable{} }, 503, again},
		{"mailboxes away: submission", http.MethodPost, "/api/batches", batch, func(_ *testing.T, a *app) { a.Ledger.Mailboxes = awayTable{} },
			503, "the ledger cannot be reached; nothing was submitted, try again"},
		{"waves away: submission", http.MethodPost, "/api/batches", batch, func(_ *testing.T, a *app) { a.Ledger.Waves = awayTable{} },
			503, "the ledger cannot be reached; nothing was submitted, try again"},
		{"two faults", http.MethodPost, "/api/batches", batch + "bob@old.example,bob@new.example\n", nil,
			400, "nothing was submitted; mend what is listed and submit again"},
		{"another wave has it", http.MethodPost, "/api/batches", "source,target\ncarl@old.example,carl@new.example\n", func(t *testing.T, a *app) {
			a.submit(t, [2]string{"carl@old.example", "carl@new.example"})
		}, 400, "nothing was submitted; mend what is listed and submit again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, false, nil)
			a.Add(ann[0], ann[1])
			wave := string(a.submit(t, ann))
			a.run(t)
			if tt.off != nil {
				tt.off(t, a)
			}
			path := tt.path
			if !strings.HasPrefix(path, "/") {
				path = "/api/waves/" + strings.NewReplacer("W", wave, "M", string(migration.MailboxFor(ann[0], ann[1]))).Replace(path)
			}
			got := a.call(t, tt.method, strings.TrimSuffix(path, "/"), "text/csv", tt.body)
			var f failure
			if err := json.Unmarshal(got.Body.Bytes(), &f); err != nil || got.Code != tt.status || f.Error != tt.want {
				t.Errorf("%d %q, want %d %q, %v", got.Code, f.Error, tt.status, tt.want, err)
			}
			if strings.Contains(got.Body.String(), "store.example") {
				t.Errorf("it tells of the storage: %s", got.Body)
			}
			if kind := got.Header().Get("Content-Type"); kind != "application/json" || got.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers: %v", got.Header())
			}
		})
	}
}

func change(t *testing.T, a *app, f func(*migration.Mailbox)) {
	t.Helper()
	for w, err := range a.Ledger.AllWaves(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range a.boxes(t, w.ID) {
			if _, err := a.Ledger.ChangeMailbox(t.Context(), w.ID, b.ID, func(b *migration.Mailbox) error { f(b); return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A receipt comes as it was stored, both files of it.
func TestAReceiptIsShown(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	a.Add(ann[0], ann[1])
	wave := a.submit(t, ann)
	a.run(t)
	box := a.boxes(t, wave)[0]
	for part, want := range map[string][2]string{"receipt": {".json", "application/json"}, "leaves": {".leaves", "application/jsonl"}} {
		body, err := blob.ReadAll(t.Context(), a.Pipeline.Receipts, box.Receipt+want[0], 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got := a.call(t, http.MethodGet, "/api/waves/"+string(wave)+"/mailboxes/"+string(box.ID)+"/"+part, "", "")
		if got.Code != http.StatusOK || got.Body.String() != string(body) || got.Header().Get("Content-Type") != want[1] || got.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %v, %q", part, got.Code, got.Header(), got.Body)
		}
	}
}

// A wave exists from the moment it is written: the timer starts it when the bus is back.
func TestASubmissionWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	var real bus.Bus
	a := newApp(t, false, func(n *pipeline.Needs) { real = n.Bus })
	a.Starter.Bus = awayBus{}
	a.Add(ann[0], ann[1])
	wave := a.submit(t, ann)
	if _, more := a.Bus.Next(); more {
		t.Fatal("a message was sent")
	}
	a.Starter.Bus = real
	if err := a.Starter.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.run(t)
	if b := a.boxes(t, wave)[0]; b.State != migration.Done {
		t.Errorf("the mailbox is %s", b.State)
	}
}

func TestTheNewestWaveComesFirst(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	var want string
	for _, n := range []string{"a", "b", "c"} {
		want = string(a.submit(t, [2]string{n + "@old.example", n + "@new.example"})) + " " + want
		a.clock.Advance(time.Minute)
	}
	var list waveList
	if err := json.Unmarshal(a.call(t, http.MethodGet, "/api/waves", "", "").Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, w := range list.Waves {
		got += string(w.ID) + " "
	}
	if got != want {
		t.Errorf("listed %s, want %s", got, want)
	}
}
