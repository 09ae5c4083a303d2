package pipeline_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
)

// mail composes a message whose content is told by n.
func mail(t *testing.T, n int) []byte {
	t.Helper()
	raw := fmt.Sprintf("From: a@example.org\r\nTo: b@example.org, c@example.org\r\nSubject: Letter %d\r\nMessage-ID: <%d@example.org>\r\nDate: Mon, 2 Nov 2026 10:%02d:00 +0000\r\n\r\nBody %d\r\n", n, n, n%60, n)
	m, err := compose.MIME(strings.NewReader(raw), compose.Options{Received: time.Date(2026, 11, 2, 10, n%60, 5, 0, time.UTC), Read: n%2 == 0})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := fts.Write(&b, m, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fill adds n different messages to a well-known folder.
func fill(t *testing.T, m *exchangetest.Mailbox, folder string, n int) {
	t.Helper()
	f, err := m.Known(folder)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := m.Add(f.ID, exchangetest.Bytes(mail(t, i))); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, l *pipelinetest.Local, lines ...submitter.Line) migration.WaveID {
	t.Helper()
	w, err := l.Submit(t.Context(), submitter.Batch{Mailboxes: lines})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	return w.ID
}

// box returns the only mailbox of a wave.
func box(t *testing.T, l *pipelinetest.Local, w migration.WaveID) migration.Mailbox {
	t.Helper()
	for b, err := range l.Ledger.WaveMailboxes(t.Context(), w) {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Fatal("the wave has no mailbox")
	return migration.Mailbox{}
}

var ann = submitter.Line{Source: "ann@old.example", Target: "ann@new.example"}

func TestAMailboxMovesWithEverythingInIt(t *testing.T) {
	t.Parallel()
	l := pipelinetest.New(nil)
	source, target := l.Add(ann.Source, ann.Target)
	fill(t, source, "inbox", 50)
	fill(t, source, "sentitems", 25)
	inbox, _ := source.Known("inbox")
	project, err := source.CreateFolder(inbox.ID, "Project", "IPF.Note")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // three identical mails stay three
		if _, err := source.Add(project.ID, exchangetest.Bytes(mail(t, 7))); err != nil {
			t.Fatal(err)
		}
	}
	b := box(t, l, run(t, l, ann))
	want := migration.Counts{Source: 78, Target: 78, Match: 78}
	if b.State != migration.Done || b.Counts != want || b.Copied != 78 {
		t.Errorf("state %s, counts %+v, copied %d, problem %q", b.State, b.Counts, b.Copied, b.Problem)
	}
	at, err := target.Known("inbox")
	if err != nil {
		t.Fatal(err)
	}
	below := target.Folders(at.ID, false)
	if len(below) != 1 || below[0].Name != "Project" || len(target.Items(below[0].ID)) != 3 {
		t.Errorf("folders below the inbox: %+v", below)
	}
}
