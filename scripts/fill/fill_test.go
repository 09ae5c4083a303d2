package fill_test

import (
	"testing"

	"github.com/mailferry/mailferry/scripts/fill"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

// Whoever moves their own mail finds it again, each once, and nothing that somebody made up.
func TestOwnMailAndNothingElse(t *testing.T) {
	t.Parallel()
	var mails []compose.Mail
	for _, folder := range [][]string{nil, {"2024"}, {"2024", "Q1"}} {
		mails = append(mails, compose.Mail{Name: "a.eml", Folder: folder, Raw: []byte("From: ann@old.example\r\n\r\nHello\r\n")})
	}
	items := 0
	const boxes = 2
	for n := range boxes {
		m := exchangetest.New("ann@old.example", exchangetest.Options{})
		if err := (fill.Plan{Mails: mails, Own: true, Total: boxes}).Fill(m, n); err != nil {
			t.Fatal(err)
		}
		root, err := m.Known("msgfolderroot")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Folders(root.ID, true) {
			items += len(m.Items(f.ID))
		}
	}
	if items != len(mails) {
		t.Errorf("%d items, want %d", items, len(mails))
	}
}
