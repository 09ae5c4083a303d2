package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/migration"
)

var ann, bob = [2]string{"ann@old.example", "ann@new.example"}, [2]string{"bob@old.example", "bob@new.example"}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestAPageOfAWave(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	a.Add("ann@old.example", "ann@new.example")
	a.Add("bob@old.example", "bob@new.example")
	wave := a.submit(t, ann, bob)
	bad := `<script>alert("x")</script> & more`
	_, err := a.Ledger.ChangeMailbox(t.Context(), wave, migration.MailboxFor("bob@old.example", "bob@new.example"), func(m *migration.Mailbox) error {
		m.State, m.Problem = migration.Failed, bad
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w := a.call(t, http.MethodGet, "/api/waves/"+string(wave)+"?code=k%22%3E%26", "", "", "Accept", browser)
	page := w.Body.String()
	for _, want := range []string{"<h1>Wave " + string(wave), "of 2 mailboxes done", `http-equiv="refresh"`, "1 failed", "1 submitted",
		"&lt;script&gt;", `?code=k%22%3e%26`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "@old.example") || strings.Contains(page, `k"`) {
		t.Errorf("the page holds what it must not:\n%s", page)
	}
	if strings.Index(page, "failed</td>") > strings.Index(page, "submitted</td>") {
		t.Error("the mailbox that needs a person does not come first")
	}
	for _, h := range []string{"Content-Security-Policy", "Referrer-Policy", "Cache-Control"} {
		if w.Header().Get(h) == "" {
			t.Errorf("no header %s", h)
		}
	}
	a.run(t)
	page = a.call(t, http.MethodGet, "/api/waves/"+string(wave), "", "", "Accept", browser).Body.String()
	if strings.Contains(page, "refresh") || strings.Contains(page, "code=") {
		t.Errorf("the page of a wave that is over is loaded again and again, or names a key:\n%s", page)
	}
}

func TestTheListOfWaves(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	get := func(accept string) string {
		return a.call(t, http.MethodGet, "/api/waves", "", "", "Accept", accept).Body.String()
	}
	if got := get("application/json"); !strings.Contains(got, `"waves": []`) {
		t.Errorf("no waves: %s", got)
	}
	if got := get(browser); !strings.Contains(got, "No wave yet") {
		t.Errorf("no waves: %s", got)
	}
	a.Add("ann@old.example", "ann@new.example")
	wave := string(a.submit(t, ann))
	for _, accept := range []string{"", "*/*", "application/json, text/html"} {
		if got := get(accept); !strings.Contains(got, `"id": "`+wave+`"`) {
			t.Errorf("Accept %q: %s", accept, got)
		}
	}
	if got := get(browser); !strings.Contains(got, `href="waves/`+wave+`"`) {
		t.Errorf("the page: %s", got)
	}
}
