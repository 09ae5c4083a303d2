package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
)

func verifieds() format[manifest.Verified] {
	return format[manifest.Verified]{"testdata/verified.manifest", manifest.EncodeVerified, manifest.DecodeVerified}
}

func verified() manifest.Verified {
	return manifest.Verified{Mailbox: "m0123456789abcdefghij", Pass: 2, Plan: "p1", Depth: "sample", Folders: []manifest.VerifiedFolder{
		{Source: "AAMk=", Target: "AAMt=", SourceState: "H4sIA", TargetState: "https://graph.microsoft.com/v1.0/x/delta?$deltatoken=a&b",
			InOrder: true, Counts: migration.Counts{Source: 5, Target: 6, Match: 5, Own: 1}},
		{Source: "AAMl=", Target: "AAMu=", SourceState: "H4sIB", TargetState: "https://graph.microsoft.com/v1.0/y/delta?$deltatoken=c"},
	}}
}

func TestVerifiedIsTheGoldenOne(t *testing.T) {
	t.Parallel()
	want := verified()
	want.Version, want.Count = 1, 2
	verifieds().isGolden(t, verified(), want)
}

func TestDamageOfVerifiedIsNamed(t *testing.T) {
	t.Parallel()
	good := string(verifieds().file(t))
	lines := strings.SplitAfter(good, "\n")
	verifieds().names(t, []damage{
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
	}...)
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
	verifieds().fuzz(f, sign(`{"v":1,"folders":0}`), sign(`{"v":1,"folders":1}`, `{}`), sign(`{"v":1,"folders":100000}`))
}
