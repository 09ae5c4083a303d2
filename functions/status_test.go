package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/parker"
)

func TestProblemsOfAWaveInOneAnswer(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	w := a.submit(t, [2]string{"ann@old.example", "ann@new.example"}, [2]string{"bob@old.example", "bob@new.example"})
	box := a.boxes(t, w)[1]
	if err := a.Ledger.Report(t.Context(), w, ledger.Problem{Mailbox: box.ID, Pass: 1, About: "x", Reason: "corrupt at source", Folder: "Inbox"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Park(t.Context(), parker.Letter{Queue: migration.CopyQueue, ID: "1", Body: []byte("not a message")}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"not asked for", string(w), ""},
		{"with the mailbox's addresses", string(w) + "?problems=true", box.Source + " " + box.Target + " corrupt at source"},
		{"of no mailbox", "unreadable?problems=true", "  parked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got struct {
				Problems []struct{ Source, Target, Reason string }
			}
			answer := a.call(t, http.MethodGet, "/api/waves/"+tt.path, "", "")
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(answer.Code, err)
			}
			var lines []string
			for _, p := range got.Problems {
				lines = append(lines, p.Source+" "+p.Target+" "+p.Reason)
			}
			if text := strings.Join(lines, "\n"); text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}
