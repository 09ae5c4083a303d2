package manifest_test

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
)

const goldenVerified = "testdata/verified.manifest"

func verified() manifest.Verified {
	return manifest.Verified{Mailbox: "m0123456789abcdefghij", Pass: 2, Plan: "p1", Depth: "sample", Folders: []manifest.VerifiedFolder{
		{Source: "AAMk=", Target: "AAMt=", SourceState: "H4sIA", TargetState: "https://graph.microsoft.com/v1.0/x/delta?$deltatoken=a&b",
			InOrder: true, Counts: migration.Counts{Source: 5, Target: 6, Match: 5, Own: 1}},
		{Source: "AAMl=", Target: "AAMu=", SourceState: "H4sIB", TargetState: "https://graph.microsoft.com/v1.0/y/delta?$deltatoken=c"},
	}}
}

func TestVerifiedIsTheGoldenOne(t *testing.T) {
	t.Parallel()
	got, err := manifest.EncodeVerified(verified())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(goldenVerified, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenVerified)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("written as\n%s\nwant\n%s", got, want)
	}
	v, err := manifest.DecodeVerified(iotest.OneByteReader(bytes.NewReader(want)))
	expect := verified()
	expect.Version, expect.Count = 1, 2
	if err != nil || !reflect.DeepEqual(v, expect) {
		t.Errorf("read as %+v, err %v; want %+v", v, err, expect)
	}
}

func TestDamageOfVerifiedIsNamed(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(goldenVerified)
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	lines := strings.SplitAfter(good, "\n")
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "line 1: file ends early"},
		{"a folder left out", lines[0] + lines[1] + lines[3], "line 4: file ends early"},
		{"the end left out", lines[0] + lines[1] + lines[2], "line 4: file ends early"},
		{"cut in a line", good[:len(lines[0])+40], "line 2"},
		{"a count changed", strings.Replace(good, `"match":5`, `"match":6`, 1), "line 4: checksum"},
		{"a state changed", strings.Replace(good, "H4sIB", "H4sIC", 1), "line 4: checksum"},
		{"more after the end", good + lines[1], "line 5: more after the end"},
		{"a later version", sign(`{"v":2,"folders":0}`), "line 1: version 2"},
		{"a negative count", sign(`{"v":1,"folders":-1}`), "line 1"},
		{"too many folders", sign(`{"v":1,"folders":1000001}`), "line 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := manifest.DecodeVerified(strings.NewReader(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, manifest.ErrDamaged) {
				t.Errorf("err = %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestWhatAFileIsAbout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		box  migration.MailboxID
		plan migration.Plan
		err  error
	}{
		{"this mailbox and plan", "m0123456789abcdefghij", migration.Plan{ID: "p1", Pass: 2}, nil},
		{"another mailbox", "m1", migration.Plan{ID: "p1", Pass: 2}, manifest.ErrDamaged},
		{"another plan", "m0123456789abcdefghij", migration.Plan{ID: "p2", Pass: 2}, manifest.ErrDamaged},
		{"another pass", "m0123456789abcdefghij", migration.Plan{ID: "p1", Pass: 3}, manifest.ErrDamaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := verified().Of(tt.box, tt.plan)
			if !errors.Is(err, tt.err) || (len(got) == 2) != (tt.err == nil) {
				t.Errorf("%d folders, err %v", len(got), err)
			}
			if f := got[manifest.Partners{Source: "AAMk=", Target: "AAMt="}]; f.InOrder != (tt.err == nil) {
				t.Errorf("read %+v", f)
			}
		})
	}
}

func FuzzDecodeVerified(f *testing.F) {
	b, err := os.ReadFile(goldenVerified)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, s := range []string{"", "{}\n", sign(`{"v":1,"folders":0}`), sign(`{"v":1,"folders":1}`, `{}`), sign(`{"v":1,"folders":100000}`)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := manifest.DecodeVerified(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := manifest.EncodeVerified(v)
		if err != nil {
			t.Fatal(err)
		}
		n, err := manifest.DecodeVerified(bytes.NewReader(again))
		if err != nil || !reflect.DeepEqual(v, n) {
			t.Errorf("%q is read as %+v, written and read as %+v, err %v", b, v, n, err)
		}
	})
}
