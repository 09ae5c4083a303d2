package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/migration"
)

//go:embed page.html
var pageText string

// pages are what people see in a browser: the same facts as in JSON, without scripts and without anything from elsewhere.
var pages = template.Must(template.New("").Funcs(template.FuncMap{"day": day, "megabytes": megabytes, "percent": percent}).Parse(pageText))

// wantsPage says whether the caller would rather have HTML than JSON.
func wantsPage(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		switch kind, _, _ := mime.ParseMediaType(part); kind {
		case "text/html", "application/xhtml+xml":
			return true
		case "application/json", "*/*":
			return false
		}
	}
	return false
}

// maxRows is how many mailboxes a page lists; those that need a person come first.
const maxRows = 500

// wavePage is what the page of a wave shows.
type wavePage struct {
	waveStatus
	Code  string // the caller's function key, for links
	Rows  []mailboxLine
	Parts []part
}

// part is one state of a wave's mailboxes.
type part struct {
	State migration.State
	Count int
}

// urgency orders the rows of a page.
var urgency = []migration.State{migration.Failed, migration.Paused, migration.Cutover, migration.Verifying, migration.Copying,
	migration.Planning, migration.Submitted, migration.Synced, migration.Done, migration.Cancelled}

func showPage(w http.ResponseWriter, r *http.Request, s waveStatus) {
	rows := slices.Clone(s.Boxes)
	slices.SortStableFunc(rows, func(a, b mailboxLine) int {
		return slices.Index(urgency, a.State) - slices.Index(urgency, b.State)
	})
	p := wavePage{waveStatus: s, Code: r.URL.Query().Get("code"), Rows: rows[:min(len(rows), maxRows)]}
	for _, st := range migration.States {
		if n := s.States[st]; n > 0 {
			p.Parts = append(p.Parts, part{st, n})
		}
	}
	render(w, "wave", p)
}

func render(w http.ResponseWriter, name string, v any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the address holds the key
	h.Set("X-Content-Type-Options", "nosniff")
	_ = pages.ExecuteTemplate(w, name, v) // the caller has gone
}

// day is a time as people read it, "–" for none.
func day(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04 MST")
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// percent is a share in whole percent; 100 only when it is all.
func percent(n, of int) int {
	if of == 0 {
		return 0
	}
	return n * 100 / of
}

// Missing is what the wave's mailboxes were found to lack, for the page.
func (s waveStatus) Missing() int { return s.Items.Missing + s.Items.Extra + s.Items.Differs }

// Ended is how many mailboxes are done.
func (s waveStatus) Ended() int { return s.States[migration.Done] }
