package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/reporter"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ferry": main})
}

// Each story has an app of its own. Its commands are: app MODE… breaks it ("app" alone mends it), asked PATTERN says that
// the last call but those of fetching began so, exits CODE CMD… runs a command and wants that exit code.
func TestStories(t *testing.T) {
	t.Parallel()
	golden, err := filepath.Abs("../../shared/receipt/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, ContinueOnError: true,
		Setup: func(e *testscript.Env) error {
			a := newFakeApp(golden)
			e.Defer(a.Close)
			e.Values["app"] = a
			e.Setenv("FERRY_URL", a.URL)
			e.Setenv("FERRY_KEY", functionKey)
			e.Setenv("GOLDEN", golden)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"app": breakApp, "asked": asked, "exits": exits, "edit": edit, "mode": mode, "hidden": hidden},
	})
}

func breakApp(ts *testscript.TestScript, _ bool, args []string) {
	a := ts.Value("app").(*fakeApp)
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.broken)
	a.looks = 0
	for _, mode := range args {
		a.broken[mode] = true
	}
}

func asked(ts *testscript.TestScript, neg bool, args []string) {
	a := ts.Value("app").(*fakeApp)
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(a.got, func(s string) bool { return strings.Contains(s, args[0]) }) == neg {
		ts.Fatalf("asked for:\n%s", strings.Join(a.got, "\n"))
	}
	a.got = nil
}

// exits 2 ferry … runs a command that must end with that code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := map[string]string{"0": "", "1": "exit status 1", "2": "exit status 2"}[args[0]], ts.Exec(args[1], args[2:]...)
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		ts.Fatalf("ended with %q, want %q", got, want)
	}
}

// edit FILE OLD NEW replaces the first OLD.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	old := ts.ReadFile(args[0])
	changed := strings.Replace(old, args[1], args[2], 1)
	if changed == old {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(changed), 0o644))
}

// mode FILE 0600 checks who may read a file.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	s, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := s.Mode().String(); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// hidden says that neither secret was printed by the last command.
func hidden(ts *testscript.TestScript, _ bool, _ []string) {
	for _, name := range []string{"stdout", "stderr"} {
		if text := ts.ReadFile(name); strings.Contains(text, functionKey) || strings.Contains(text, entraToken) {
			ts.Fatalf("a secret stands in %s:\n%s", name, text)
		}
	}
}

func TestSizesForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 75_000: "75.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB",
		157_286_401: "157.3 MB", 2e15: "2.0 PB", 1<<63 - 1: "9.2 EB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestWhereTheKeyIsSent(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"https://a.example":            "https://a.example",
		"https://a.example/":           "https://a.example",
		"https://a.example/api/":       "https://a.example",
		"https://a.example/x/api":      "https://a.example/x",
		"http://127.0.0.1:7071":        "http://127.0.0.1:7071",
		"http://[::1]:7071/api":        "http://[::1]:7071",
		"http://localhost:7071":        "http://localhost:7071",
		"http://a.example":             "",
		"http://localhost.example":     "",
		"https://a.example/?code=x":    "",
		"https://user:pass@a.example/": "",
		"ftp://a.example":              "",
		"a.example":                    "",
		"":                             "",
		"://":                          "",
	} {
		got, err := baseURL(given)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", given, got, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "pass") || strings.Contains(err.Error(), "code=")) {
			t.Errorf("%s: the error quotes it: %v", given, err)
		}
	}
}

func TestCleanTakesTheTerminalOutOfTexts(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"Zürich 東京": "Zürich 東京", "a\x1b[2Jb": "a\uFFFD[2Jb", "a\nb\tc": "a\uFFFDb\uFFFDc", "a\u202Eb\u0085": "a\uFFFDb\uFFFD"} {
		if got := clean(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

func TestSpreadsheetsSeeNoFormulas(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := problemsCSV(&b, []reporter.Problem{{Source: "+a@b.example", Target: "c@d.example", Problem: ledger.Problem{Mailbox: "m", Pass: 1, Folder: `=x,"y"`, Reason: "-", Seen: time.Unix(0, 0)}}})
	want := "mailbox,source,target,pass,folder,class,received,size,reason,detail,about,seen\n" +
		`m,'+a@b.example,c@d.example,1,"'=x,""y""",,,0,'-,,,1970-01-01T00:00:00Z` + "\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
}
