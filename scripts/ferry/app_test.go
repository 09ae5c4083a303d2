package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/reporter"
	"github.com/mailferry/mailferry/shared/submitter"
)

// fakeApp speaks the app's HTTP contract: real submissions into a ledger in memory, and waves that are written down.
// A script breaks it with the command app.
type fakeApp struct {
	*httptest.Server
	submitter submitter.Submitter
	golden    string // folder of the golden receipt

	mu     sync.Mutex
	broken map[string]bool
	looks  int             // at the running wave
	got    []string        // what was asked for, and posted
	waves  map[string]wave // by ID
	boxes  map[string]mailboxReport
}

const (
	functionKey = "function-key-not-to-be-shown"
	entraToken  = "entra-token-not-to-be-shown"
	goldenBox   = "mqk2v7r0c1yx8n5jt3fzd"
)

var clock = time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)

func newFakeApp(golden string) *fakeApp {
	n := 0
	a := &fakeApp{golden: golden, broken: map[string]bool{}, boxes: map[string]mailboxReport{}}
	a.submitter = submitter.Submitter{Ledger: ledger.NewMemory(), Clock: clockwork.NewFakeClockAt(clock),
		NewID: func() string { n++; return fmt.Sprintf("%012d", n) }}
	a.waves = waves()
	for id, r := range reports() {
		a.boxes[id] = r
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/batches", a.submit)
	mux.HandleFunc("GET /api/about", a.about)
	mux.HandleFunc("GET /api/waves", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"waves": []migration.Wave{a.waves["wfail"].Wave, a.waves["wdone"].Wave}})
	})
	mux.HandleFunc("GET /api/waves/{wave}", a.wave)
	mux.HandleFunc("GET /api/waves/{wave}/mailboxes/{mailbox}", a.mailbox)
	mux.HandleFunc("GET /api/waves/{wave}/mailboxes/{mailbox}/receipt", a.receipt("golden.receipt.json"))
	mux.HandleFunc("GET /api/waves/{wave}/mailboxes/{mailbox}/leaves", a.receipt("golden.leaves.jsonl"))
	mux.HandleFunc("POST /api/waves/{wave}/{verb}", a.act)
	mux.HandleFunc("POST /api/waves/{wave}/mailboxes/{mailbox}/{verb}", a.act)
	a.Server = httptest.NewServer(a.guard(mux))
	return a
}

func waves() map[string]wave {
	full := func(id, name string, boxes ...box) wave {
		w := wave{Wave: migration.Wave{ID: migration.WaveID(id), Name: name, Mailboxes: len(boxes), Submitted: clock, Start: clock},
			States: map[migration.State]int{}, Over: true, Boxes: boxes}
		for _, b := range boxes {
			w.States[b.State]++
			w.Over = w.Over && b.State.Over()
			w.Copied += b.Settled
			w.Bytes += int64(b.Settled) * 75_000
			w.Items.Source, w.Items.Match = w.Items.Source+b.Planned, w.Items.Match+b.Settled
		}
		w.Items.Target = w.Items.Match
		return w
	}
	var many []box
	for i := range 50 {
		s := migration.Done
		if i == 49 {
			s = migration.Failed
		}
		many = append(many, box{ID: migration.MailboxID(fmt.Sprintf("m%03d", i)), State: s, Pass: 1, Planned: 10, Settled: 10})
	}
	done := box{ID: goldenBox, State: migration.Done, Pass: 2, Planned: 6, Settled: 6}
	return map[string]wave{
		"unreadable": {Wave: migration.Wave{ID: parker.Unreadable}},
		"wdone":      full("wdone", "Ward \x1b[31m7", done, box{ID: "mbob", State: migration.Done, Pass: 1, Planned: 10, Settled: 10}),
		"wfail":      full("wfail", "", done, box{ID: "mbob", State: migration.Failed, Pass: 1, Planned: 10, Settled: 4, Problem: "source mailbox: access denied; check the service account"}),
		"wwait": full("wwait", "", box{ID: "mbob", State: migration.Copying, Pass: 1, Planned: 10, Settled: 4,
			Wait: migration.Wait{Until: clock.Add(5 * time.Minute), Why: "throttled by graph mailbox"}}),
		"wmany": full("wmany", "", many...),
		"wrun0": full("wrun", "", box{ID: "mrun", State: migration.Submitted}),
		"wrun1": full("wrun", "", box{ID: "mrun", State: migration.Copying, Pass: 1, Planned: 100, Settled: 40}),
		"wrun2": full("wrun", "", box{ID: "mrun", State: migration.Done, Pass: 1, Planned: 100, Settled: 100}),
	}
}

func reports() map[string]mailboxReport {
	ada := migration.Mailbox{ID: goldenBox, Wave: "wfail", Source: "ada@old.example", Target: "ada@new.example", State: migration.Done, Pass: 2,
		Kind: migration.CutoverPass, Plans: []migration.Plan{{ID: "p1", Pass: 2, Shards: 1, Items: 6, Bytes: 157_861_402}}, Shard: 1, Copied: 5, Bytes: 575_001,
		Counts:    migration.Counts{Source: 6, Target: 6, Match: 5, Skipped: 1, Own: 1},
		Submitted: clock, Started: clock, Changed: clock.Add(time.Hour), Finished: clock.Add(time.Hour)}
	bob := migration.Mailbox{ID: "mbob", Wave: "wfail", Source: "bob@old.example", Target: "bob@new.example", State: migration.Failed, Pass: 1,
		Kind: migration.FullPass, Problem: "source mailbox: access denied; check the service account", Submitted: clock}
	seen := clock.Add(time.Minute)
	return map[string]mailboxReport{
		goldenBox: {ada, []ledger.Problem{
			{Mailbox: goldenBox, Pass: 2, About: "389595a44dc9dce7dee673f243e80524", Reason: "too large for the target", Folder: "Inbox", Class: "IPM.Note",
				Received: time.Date(2019, 2, 3, 4, 5, 6, 0, time.UTC), Size: 157_286_401, Seen: seen},
			{Mailbox: goldenBox, Pass: 2, About: "x", Reason: "corrupt at source", Detail: "ErrorCorruptData", Folder: "=HYPERLINK(\"x\") / a,b\x1b[2J", Class: "IPM.Task", Seen: seen},
		}},
		"mbob": {bob, []ledger.Problem{{Mailbox: "mbob", Pass: 1, About: "plan", Reason: "access denied", Detail: "ErrorImpersonateUserDenied", Seen: seen}}},
	}
}

// guard is what stands before the functions: the key, and whatever is broken.
func (a *fakeApp) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		a.mu.Lock()
		a.got = append(a.got, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Content-Type")+" "+string(body)))
		broken := maps.Clone(a.broken)
		blips := broken["blip"]
		if blips {
			delete(a.broken, "blip")
		}
		a.mu.Unlock()
		switch {
		case broken["down"]:
			panic(http.ErrAbortHandler)
		case blips:
			w.WriteHeader(http.StatusServiceUnavailable)
		case broken["moved"]:
			http.Redirect(w, r, "https://elsewhere.example/api/about", http.StatusMovedPermanently)
		case broken["stopped"]:
			http.Error(w, "<h1>Error 403 - This web app is stopped.</h1>", http.StatusForbidden)
		case broken["failing"]:
			w.WriteHeader(http.StatusInternalServerError)
		case broken["busy"]:
			w.Header().Set("Retry-After", "7")
			answer(w, http.StatusTooManyRequests, failure{Error: "too many requests; wait as long as Retry-After says and send it again"})
		case broken["other"]:
			fmt.Fprint(w, "<h1>Your function app is up and running</h1>")
		case r.Header.Get("x-functions-key") != functionKey && r.Header.Get("Authorization") != "Bearer "+entraToken:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			if broken["slow clock"] {
				w.Header().Set("Date", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Format(http.TimeFormat))
			}
			next.ServeHTTP(w, r)
		}
	})
}

func (a *fakeApp) is(broken string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.broken[broken]
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

type failure struct {
	Error  string            `json:"error"`
	Faults []submitter.Fault `json:"faults,omitempty"`
}

func (a *fakeApp) about(w http.ResponseWriter, _ *http.Request) {
	v := map[string]any{"version": "v0.3.0", "api": 1}
	if a.is("old") {
		v["api"] = 0
	}
	if a.is("new") {
		v["api"] = 2
	}
	answer(w, http.StatusOK, v)
}

func (a *fakeApp) submit(w http.ResponseWriter, r *http.Request) {
	var b submitter.Batch
	var err error
	switch r.Header.Get("Content-Type") {
	case "application/json":
		b, err = submitter.ParseJSON(r.Body)
	case "text/csv":
		b, err = submitter.ParseCSV(r.Body)
	default:
		answer(w, http.StatusUnsupportedMediaType, failure{Error: "send the batch as Content-Type text/csv or application/json"})
		return
	}
	var made migration.Wave
	if err == nil {
		made, err = a.submitter.Submit(r.Context(), b)
	}
	if bad, ok := errors.AsType[*submitter.BatchError](err); ok {
		answer(w, http.StatusBadRequest, failure{"nothing was submitted; mend what is listed and submit again", bad.Faults})
		return
	}
	answer(w, http.StatusAccepted, map[string]any{"wave": made.ID, "mailboxes": made.Mailboxes, "url": "/api/waves/" + made.ID})
}

func (a *fakeApp) wave(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("wave")
	if id == "wrun" {
		a.mu.Lock()
		id = fmt.Sprintf("wrun%d", min(a.looks, 2))
		a.looks++
		a.mu.Unlock()
	}
	got, ok := a.waves[id]
	switch {
	case a.is("ledger"):
		answer(w, http.StatusServiceUnavailable, failure{Error: "the ledger cannot be reached, try again"})
	case !ok:
		answer(w, http.StatusNotFound, failure{Error: "there is no such wave"})
	default:
		if r.URL.Query().Get("problems") == "true" && !a.is("old") {
			got.Problems, got.More = a.problems(got), a.is("more")
		}
		answer(w, http.StatusOK, got)
	}
}

func (a *fakeApp) problems(w wave) []reporter.Problem {
	if w.ID == parker.Unreadable {
		return []reporter.Problem{{Problem: ledger.Problem{Mailbox: "unknown", Reason: "parked", Detail: "message cannot be read; its bytes are in reports/parked/copy/x.json"}}}
	}
	all := []reporter.Problem{}
	for _, b := range w.Boxes {
		for _, p := range a.boxes[string(b.ID)].Problems {
			all = append(all, reporter.Problem{Source: a.boxes[string(b.ID)].Source, Target: a.boxes[string(b.ID)].Target, Problem: p})
		}
	}
	return all
}

func (a *fakeApp) has(r *http.Request) bool {
	w, ok := a.waves[r.PathValue("wave")]
	return ok && slices.ContainsFunc(w.Boxes, func(b box) bool { return string(b.ID) == r.PathValue("mailbox") })
}

func (a *fakeApp) mailbox(w http.ResponseWriter, r *http.Request) {
	if !a.has(r) {
		answer(w, http.StatusNotFound, failure{Error: "there is no such mailbox in this wave"})
		return
	}
	m := a.boxes[r.PathValue("mailbox")]
	m.ID, m.Wave = migration.MailboxID(r.PathValue("mailbox")), migration.WaveID(r.PathValue("wave"))
	answer(w, http.StatusOK, m)
}

func (a *fakeApp) receipt(file string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.has(r) || r.PathValue("mailbox") != goldenBox {
			answer(w, http.StatusNotFound, failure{Error: "the mailbox has no receipt yet; it is written when the mailbox is verified"})
			return
		}
		b, err := os.ReadFile(filepath.Join(a.golden, file))
		if err != nil {
			panic(err)
		}
		if a.is("tampered") {
			b = []byte(strings.Replace(string(b), `"bytes":75000`, `"bytes":75001`, 1))
		}
		if a.is("cut") && strings.HasSuffix(file, "jsonl") {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			b = b[:len(b)/2]
		}
		_, _ = w.Write(b)
	}
}

func (a *fakeApp) act(w http.ResponseWriter, r *http.Request) {
	from := map[string]migration.State{"retry": migration.Failed, "resume": migration.Paused}
	verb := r.PathValue("verb")
	got, ok := a.waves[r.PathValue("wave")]
	if !slices.Contains([]string{"retry", "pause", "resume", "cancel"}, verb) {
		http.NotFound(w, r)
		return
	}
	if !ok {
		answer(w, http.StatusNotFound, failure{Error: "there is no such wave"})
		return
	}
	changed := []string{}
	for _, b := range got.Boxes {
		want := b.State == from[verb] || from[verb] == "" && !b.State.Over()
		if want && (r.PathValue("mailbox") == "" || r.PathValue("mailbox") == string(b.ID)) {
			changed = append(changed, string(b.ID))
		}
	}
	did := map[string]any{"changed": len(changed), "mailboxes": changed}
	if a.is("taken") {
		did["refused"], did["because"] = []string{"mada"}, "source mailbox is already in the active wave wother"
	}
	answer(w, http.StatusOK, did)
}

func TestFakeAppIsAsStrictAsTheRealOne(t *testing.T) {
	t.Parallel()
	a := newFakeApp("")
	defer a.Close()
	resp, err := http.Post(a.URL+"/api/waves/wdone/explode", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a call without a key is answered %s", resp.Status)
	}
}
